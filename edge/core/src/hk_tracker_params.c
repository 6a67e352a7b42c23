#include "hk_tracker_params.h"

#include "hk_catalogue.h"

_Static_assert(HK_EVENT_COUNT <= HK_TRACKER_EVENTS_MAX, "the tracker holds every event of the catalogue");

/* What a head without an operating point of its own is judged by. */
#define UNTRAINED_THRESHOLDS { 230, 192, 128 }

/* Alarms: both standards sound for minutes, so a second of tone may pass before the first trigger (half a second for
 * CO, whose pulses add up to 0.4 s in each 6 s), and gaps bridge the 5 s silence of T4 at its slowest. Reported again
 * every minute, so that a device that lost its network at the wrong moment says it again. */
#define ALARM(role_, min_ms)                                                                                       \
    .thresholds = UNTRAINED_THRESHOLDS, .release_percent = 60, .sensitivity = HK_SENSITIVITY_NORMAL,               \
    .smoothing_shift = 2, .role = (role_), .is_enabled = true, .min_duration_ms = (min_ms), .max_gap_ms = 7000,    \
    .refractory_ms = 10000, .repeat_ms = 60000

/* Impacts are over in a tenth of a second: the smoothing is short, and one that rings on is one event. Which of them are
 * off until somebody chooses them, and why, is said in the catalogue. */
#define IMPACT(is_enabled_, min_ms, gap_ms)                                                                        \
    .thresholds = UNTRAINED_THRESHOLDS, .release_percent = 60, .sensitivity = HK_SENSITIVITY_NORMAL,               \
    .smoothing_shift = 1, .role = HK_TRACKER_ROLE_SOUND, .is_enabled = (is_enabled_), .is_armed_only = true,       \
    .min_duration_ms = (min_ms), .max_gap_ms = (gap_ms), .refractory_ms = 5000, .repeat_ms = 0

/* Sounds that come in bouts: a bout is one event, said again only if it lasts. */
#define BOUT(min_ms, gap_ms, again_ms)                                                                             \
    .thresholds = UNTRAINED_THRESHOLDS, .release_percent = 60, .sensitivity = HK_SENSITIVITY_NORMAL,               \
    .smoothing_shift = 3, .role = HK_TRACKER_ROLE_SOUND, .is_enabled = true, .min_duration_ms = (min_ms),          \
    .max_gap_ms = (gap_ms), .refractory_ms = 10000, .repeat_ms = (again_ms)

const hk_tracker_event_params_t hk_tracker_added_event_params = { BOUT(200, 1500, 60000) };

const hk_tracker_params_t hk_tracker_default_params = {
    .event_count = HK_EVENT_COUNT,
    .alarm = {
        .proven_percent = 60,
        .sure_scores = { 255, 255, 255 },
        .lone_duration_ms = 10000,
        .persistent_ms = 30000,
    },
    .doubt_margin = 64,
    .hint_confidence = 215,
    .naming_wait_ms = 1000,
    .doubt_wait_ms = 3500,
    .cadence_interval_ms = 200,
    .events = {
        [HK_EVENT_SMOKE_ALARM] = { ALARM(HK_TRACKER_ROLE_SMOKE_ALARM, 1000) },
        [HK_EVENT_CO_ALARM] = { ALARM(HK_TRACKER_ROLE_CO_ALARM, 500) },
        [HK_EVENT_GLASS_BREAK] = { IMPACT(false, 100, 1000) },
        /* steps at 1.4-2.4 a second: several of them, each above the threshold for a moment */
        [HK_EVENT_FOOTSTEPS] = { IMPACT(true, 600, 1500) },
        [HK_EVENT_DOOR] = { IMPACT(false, 100, 1000) },
        [HK_EVENT_APPLIANCE_BEEP] = { BOUT(400, 2500, 0) },
        [HK_EVENT_DOG_BARK] = { BOUT(200, 3000, 60000) },
        [HK_EVENT_BABY_CRY] = { BOUT(800, 3000, 60000) },
    },
};
