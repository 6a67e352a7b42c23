/* Event tracker: from the heads' scores of each step to events.
 *
 * For each event: scores are smoothed (the mean falls as slowly as it rises), compared with the threshold of the
 * chosen sensitivity with hysteresis, and must have been above it for a minimum time. Gaps up to `max_gap_ms` do not
 * end a sound, so the silences of an alarm's cadence do not: time above the threshold adds up over its pulses. After a
 * trigger the event is quiet until it has ended and for `refractory_ms`; one that goes on is reported again
 * every `repeat_ms` (0: never).
 *
 * Alarms and cadence. Cadence names an alarm and raises confidence in it; it never silences one.
 *  - Evidence. An alarm goes on, an appliance that beeps does not. So a head's score above its threshold is an alarm once
 *    it is borne out by one of: a burst of T3, or `t4_periods` of T4 (a single one is four beeps, as clocks and monitors
 *    have them, and bears out a peak of `t4_sure_score` only); a peak that leaves no doubt (`sure_scores`); time above the threshold, summed over the pulses, of
 *    `lone_duration_ms` (an appliance's beeps, a timer or a steady tone of a few seconds are shorter), in which time does
 *    not count while brief beeps are measured; or simply having gone on for `persistent_ms`, gaps included: whatever its
 *    cadence, 30 s of alarm are an alarm.
 *  - Raise. With two periods of T3 or T4 in the air, `proven_percent` of the threshold suffices, and the score that is
 *    reported is raised towards 255. Where they are beyond doubt (`certain_…`), hardly any score is asked: nothing but an alarm
 *    keeps to a standard, and a head may never have heard a sounder's voice.
 *  - Name. The heads of smoke and CO fire on each other's tone, so either may be the higher one in the first second. If
 *    the cadence says T3 or T4, the event takes that name; without evidence the higher score names it.
 * How long to wait for a name: a trigger follows as soon as the cadence agrees with the scores, or at the latest
 * `doubt_wait_ms` after the minimum duration was reached. If one head is above its threshold and the other clearly is not
 * (by `doubt_margin`), there is no doubt, and the wait is only `naming_wait_ms`. If later two whole periods contradict the
 * name that was given, a second event with the right name is raised, marked `is_renamed`; the first stays as it is.
 *
 * Time is counted in samples heard (16 kHz). All behaviour is in `hk_tracker_params_t`, which is copied. What the user
 * chooses (armed, which events, sensitivity) may change between any two steps. No heap, no floating point; the
 * caller owns the struct. Not for use in an interrupt. */
#ifndef HK_TRACKER_H
#define HK_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_cadence.h"
#include "hk_frontend.h"
#include "hk_wire_values.h" /* HK_SENSITIVITY_… */

#define HK_TRACKER_EVENTS_MAX 9 /* those of the catalogue, and one that a head has brought */
#define HK_TRACKER_STEP_MS 20

#define HK_TRACKER_SENSITIVITIES 3 /* HK_SENSITIVITY_LOW, _NORMAL, _HIGH: high sensitivity is a low threshold */
#define HK_TRACKER_LEVEL_MAX 100   /* sensitivity as a number: 0 is low, 50 normal, 100 high */

typedef enum {
    HK_TRACKER_ROLE_SOUND = 0,       /* cadence is reported with it, nothing more */
    HK_TRACKER_ROLE_SMOKE_ALARM = 1, /* named by T3 */
    HK_TRACKER_ROLE_CO_ALARM = 2,    /* named by T4 */
} hk_tracker_role_t;

typedef struct {
    uint8_t thresholds[HK_TRACKER_SENSITIVITIES]; /* smoothed score, 1..255, by sensitivity; from the head's blob */
    uint8_t release_percent;                      /* a sound ends below this share of its threshold, 1..100 */
    uint8_t sensitivity;                          /* at start */
    uint8_t smoothing_shift;                      /* smoothing over about 2^shift steps, 0..7 */
    uint8_t role;                                 /* hk_tracker_role_t */
    bool is_enabled;                              /* at start */
    bool is_armed_only;                           /* reported only while armed */
    uint16_t min_duration_ms;                     /* above the threshold, summed over the pulses of one sound */
    uint16_t max_gap_ms;                          /* a longer silence ends the sound */
    uint16_t refractory_ms;                       /* from the end of a sound to the next trigger, at least */
    uint32_t repeat_ms;                           /* a sound that goes on is reported again after this; 0: never */
} hk_tracker_event_params_t;

/* What an alarm's head must show besides its score; see "Evidence" above. */
typedef struct {
    uint8_t proven_percent;                       /* with a finding, this share of the threshold suffices, 1..100 */
    uint8_t sure_scores[HK_TRACKER_SENSITIVITIES]; /* a peak this high needs no more evidence; 255: hardly any */
    uint16_t lone_duration_ms;                    /* time above the threshold that stands for a cadence; 0: min_duration_ms */
    uint16_t persistent_ms;                       /* an alarm that has gone on for this long needs no more evidence */
    uint8_t brief_percent;                        /* beeps that sound for less of their time stand for no cadence; 0: any do */
    uint8_t brief_periods;                        /* of so many measured periods at least */
    uint8_t certain_percent;                      /* with a finding beyond doubt, this share of the threshold, 1..100 */
    uint8_t certain_periods;                      /* which is one of so many periods, */
    uint8_t certain_confidence;                   /* or of two as clear as this */
    uint8_t t4_periods;                           /* so many of T4 bear a score out; of T3 one does, */
    uint8_t t4_sure_score;                        /* and of T4 where the peak is as high as this */
} hk_tracker_alarm_params_t;

typedef struct {
    hk_tracker_event_params_t events[HK_TRACKER_EVENTS_MAX];
    hk_tracker_alarm_params_t alarm;
    uint8_t event_count;          /* 1..HK_TRACKER_EVENTS_MAX; the order of the heads */
    uint8_t doubt_margin;         /* smoke and CO scores further apart than this leave no doubt */
    uint8_t hint_confidence;      /* one period of this confidence names an alarm against a score that stands alone */
    uint16_t naming_wait_ms;      /* wait for a hint of the cadence where the scores leave no doubt */
    uint16_t doubt_wait_ms;       /* longest wait for the cadence to name an alarm where they do */
    uint16_t cadence_interval_ms; /* the cadence is looked at this often */
} hk_tracker_params_t;

/* A sound has become an event. */
typedef struct {
    uint64_t start_sample;   /* where the scores first rose above the threshold */
    uint64_t trigger_sample; /* end of the step that completed the evidence */
    hk_cadence_evidence_t cadence;
    uint8_t event;                         /* index into params.events = catalogue order */
    uint8_t score;                         /* highest smoothed score of the sound, raised by cadence */
    uint8_t scores[HK_TRACKER_EVENTS_MAX]; /* smoothed scores of all heads at the trigger */
    uint8_t sensitivity;
    bool is_armed;
    bool is_repeat;  /* the sound was reported before and goes on */
    bool is_renamed; /* the cadence corrects the name of an alarm reported before */
} hk_event_t;

/* What an update may change of an event: those fields of hk_tracker_event_params_t. */
typedef struct {
    uint32_t repeat_ms;
    uint16_t min_duration_ms;
    uint16_t max_gap_ms;
    uint16_t refractory_ms;
    uint8_t release_percent;
    uint8_t smoothing_shift;
} hk_tracker_times_t;

/* Private: one event's state. */
typedef struct {
    uint64_t start_sample;
    uint16_t smoothed_q8;    /* score in 1/256 */
    uint16_t above_steps;    /* time above the threshold, summed */
    uint16_t lone_steps;     /* of that, what stands for a cadence: in which no brief beeps were measured */
    uint16_t gap_steps;      /* silence since it was last above */
    uint16_t wait_steps;     /* since the minimum duration was reached */
    uint16_t quiet_steps;    /* refractory time left */
    uint32_t reported_steps; /* since the last trigger of this sound */
    uint16_t sounding_steps; /* since its start, gaps included */
    uint8_t peak;
    uint8_t level;           /* sensitivity, 0..HK_TRACKER_LEVEL_MAX */
    bool is_enabled;
    bool is_sounding; /* a sound is under way */
    bool is_above;    /* hysteresis */
    bool is_reported; /* it has been reported */
} hk_tracker_event_state_t;

typedef struct {
    hk_cadence_state_t cadence;
    hk_tracker_params_t params;
    hk_tracker_event_state_t events[HK_TRACKER_EVENTS_MAX];
    hk_cadence_evidence_t evidence; /* of the sound under way */
    uint16_t steps_to_analysis;
    bool is_armed;
} hk_tracker_t;

_Static_assert(sizeof(hk_tracker_t) < 4096, "the tracker's state must stay small: RAM is tight on boards");

/* Starts disarmed, with the sensitivities and choices of `params` (copied).
 * Returns 0, or HK_ERROR_ARGUMENT where a parameter is out of its range. */
int hk_tracker_init(hk_tracker_t *tracker, const hk_tracker_params_t *params);

/* Armed: nobody is at home, and events that are `is_armed_only` are reported too. A sound that began while
 * disarmed is not reported by arming; it counts from then on. */
void hk_tracker_set_armed(hk_tracker_t *tracker, bool is_armed);

/* Whether event `index` is reported, and how easily. Returns 0 or HK_ERROR_ARGUMENT. */
int hk_tracker_set_event(hk_tracker_t *tracker, uint8_t index, bool is_enabled, uint8_t sensitivity);

/* The same with sensitivity as a number, 0..HK_TRACKER_LEVEL_MAX: thresholds between low, normal and high are
 * interpolated. An event says the nearest of the three. Returns 0 or HK_ERROR_ARGUMENT. */
int hk_tracker_set_event_level(hk_tracker_t *tracker, uint8_t index, bool is_enabled, uint8_t level);

/* What alarms must show besides their scores, from the next step on. Returns 0 or HK_ERROR_ARGUMENT. */
int hk_tracker_set_alarm_params(hk_tracker_t *tracker, const hk_tracker_alarm_params_t *alarm);

bool hk_tracker_alarm_is_valid(const hk_tracker_alarm_params_t *alarm);

/* Other times for event `index`, from the next step on. Returns 0 or HK_ERROR_ARGUMENT. */
int hk_tracker_set_times(hk_tracker_t *tracker, uint8_t index, const hk_tracker_times_t *times);
bool hk_tracker_times_are_valid(const hk_tracker_times_t *times);

/* Follows one event more, the one of index params.event_count, with these parameters (copied).
 * Returns 0, or HK_ERROR_FULL, or HK_ERROR_ARGUMENT where a parameter is out of its range. */
int hk_tracker_add_event(hk_tracker_t *tracker, const hk_tracker_event_params_t *params);

/* Follows only the first `count` events from now on, 1..params.event_count. */
void hk_tracker_keep_events(hk_tracker_t *tracker, uint8_t count);

/* Whether what beats is on for so little of its time that it is a monitor, a lorry or a clock, and no alarm's rhythm: smoke
 * alarms sound for two fifths of it at least. */
bool hk_tracker_is_brief(const hk_cadence_evidence_t *evidence, const hk_tracker_alarm_params_t *alarm);

/* Thresholds of a new head for event `index` (low, normal, high; each 1..255). Returns 0 or HK_ERROR_ARGUMENT. */
int hk_tracker_set_thresholds(hk_tracker_t *tracker, uint8_t index,
                              const uint8_t thresholds[HK_TRACKER_SENSITIVITIES]);

/* What is compared with what just now, of event `index`: its smoothed score, and the threshold at its sensitivity, 0
 * where the event is not listened for. */
uint8_t hk_tracker_score(const hk_tracker_t *tracker, uint8_t index);
uint8_t hk_tracker_threshold(const hk_tracker_t *tracker, uint8_t index);

/* One step: two frames, one score of each head (`params.event_count`), and the number of samples heard up to its end.
 * Writes up to HK_TRACKER_EVENTS_MAX events to `out`, safety alarms first; returns how many. */
size_t hk_tracker_step(hk_tracker_t *tracker, const hk_frame_t frames[2], const uint8_t *scores, uint64_t sample,
                       hk_event_t out[HK_TRACKER_EVENTS_MAX]);

#endif
