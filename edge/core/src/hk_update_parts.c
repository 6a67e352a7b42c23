#include "hk_update_parts.h"

#include <string.h>

#include "hk_catalogue.h"
#include "hk_default_heads.h"
#include "hk_error.h"
#include "hk_media_set.h"
#include "hk_tracker_params.h"

enum {
    NAME_BYTES = 32,
    THRESHOLDS_BYTES = 36,
    SETTINGS_BYTES = 48,
    TRIAL_TRIGGERS_LEAST = 1,
};

_Static_assert((HK_EVENT_COUNT + 2) * SETTINGS_BYTES <= HK_UPDATE_MAX_BYTES - HK_UPDATE_ENVELOPE_BYTES,
               "settings of every event and of alarms fit an update");

static uint16_t load_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

/* The event that an entry names, as the device numbers it; HK_ERROR_UNKNOWN. */
static int find_event(const hk_detector_t *detector, const uint8_t *entry, uint8_t *event)
{
    const hk_head_t *added = hk_detector_head(detector, HK_EVENT_ADDED);
    const char *name = (const char *)entry;
    const char *end = memchr(name, '\0', NAME_BYTES);
    if (end != NULL && hk_catalogue_find(name, (size_t)(end - name), event) == 0) {
        return HK_OK;
    }
    if (added != NULL && strncmp(added->event_name, name, NAME_BYTES) == 0) {
        *event = HK_EVENT_ADDED;
        return HK_OK;
    }
    return HK_ERROR_UNKNOWN;
}

static bool is_safety(uint8_t event)
{
    return event < HK_EVENT_COUNT && hk_catalogue[event].is_safety != 0;
}

/* --- Heads --- */

static bool open_built_in(const char *event, hk_head_t *head)
{
    for (uint8_t i = 0; i < hk_default_head_count; i++) {
        if (hk_head_open(head, hk_default_heads[i].blob, hk_default_heads[i].len) == 0
            && strcmp(head->event_name, event) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a head fires wherever the image's own does. */
static bool fires_with(const hk_head_t *head, uint8_t score, const hk_head_t *built_in, uint8_t reference)
{
    return (reference < built_in->threshold_low || score >= head->threshold_low)
           && (reference < built_in->threshold_normal || score >= head->threshold_normal)
           && (reference < built_in->threshold_high || score >= head->threshold_high);
}

static int self_test(const hk_update_envelope_t *envelope, const hk_head_t *head, const uint8_t *vectors)
{
    hk_head_t built_in;
    uint8_t event;
    const bool is_known = hk_catalogue_find(head->event_name, strlen(head->event_name), &event) == 0;
    const bool is_guarded = is_known && is_safety(event) && open_built_in(head->event_name, &built_in);
    const uint8_t *promised = vectors + (size_t)envelope->vectors * HK_ENGINE_OUTPUT_BYTES;
    uint32_t witnesses = 0;
    for (uint8_t i = 0; i < envelope->vectors; i++) {
        const int8_t *vector = (const int8_t *)vectors + (size_t)i * HK_ENGINE_OUTPUT_BYTES;
        uint8_t score;
        hk_head_score(head, 1, vector, &score);
        if (score != promised[i]) {
            return HK_ERROR_SELF_TEST;
        }
        if (is_guarded) {
            uint8_t reference;
            hk_head_score(&built_in, 1, vector, &reference);
            if (!fires_with(head, score, &built_in, reference)) {
                return HK_ERROR_UNSAFE;
            }
            witnesses += reference >= built_in.threshold_normal ? 1u : 0u;
        }
    }
    return is_guarded && witnesses < HK_UPDATE_WITNESSES ? HK_ERROR_UNSAFE : HK_OK;
}

static int check_head(const hk_update_envelope_t *envelope)
{
    hk_head_t head;
    const size_t blob_bytes = hk_update_envelope_blob_bytes(envelope);
    const size_t test_bytes = (size_t)envelope->vectors * (HK_ENGINE_OUTPUT_BYTES + 1u);
    if (envelope->payload_bytes != blob_bytes + ((test_bytes + 3) & ~(size_t)3)) {
        return HK_ERROR_FORMAT;
    }
    int status = hk_head_open(&head, envelope->payload, blob_bytes);
    if (status == 0) {
        status = hk_head_check_trunk(&head, hk_trunk_hash, HK_ENGINE_OUTPUT_BYTES);
    }
    if (status == 0 && strcmp(head.event_name, envelope->event) != 0) {
        status = HK_ERROR_FORMAT;
    }
    if (status != 0) {
        return status;
    }
    return self_test(envelope, &head, envelope->payload + blob_bytes);
}

int hk_update_check_cabled(const hk_update_envelope_t *envelope)
{
    return check_head(envelope);
}

/* Opens the latest heads into `heads`; how many those are, the sequence of each event's in `since`, and a bit for the area
 * of each that came by cable and may not be used in `barred`. */
static size_t open_heads(const hk_update_store_t *store, hk_head_t heads[HK_UPDATE_AREAS],
                         uint32_t since[HK_HEADS_MAX], uint8_t *barred)
{
    size_t count = 0;
    for (uint8_t area = 0; area < HK_UPDATE_AREAS; area++) {
        hk_update_record_t held;
        hk_update_record_t latest;
        if (!hk_update_store_read(store, area, &held) || held.envelope.part != HK_PART_HEAD
            || hk_update_store_latest(store, HK_PART_HEAD, held.envelope.event, &latest) != area) {
            continue;
        }
        if (!held.is_signed && hk_update_check_cabled(&held.envelope) != 0) {
            *barred = (uint8_t)(*barred | 1u << area);
            continue;
        }
        uint8_t event;
        if (hk_catalogue_find(held.envelope.event, strlen(held.envelope.event), &event) != 0) {
            event = HK_EVENT_ADDED;
        }
        since[event] = held.sequence;
        hk_head_t *head = &heads[count];
        if (hk_head_open(head, held.envelope.payload, hk_update_envelope_blob_bytes(&held.envelope)) == 0
            && hk_head_check_trunk(head, hk_trunk_hash, HK_ENGINE_OUTPUT_BYTES) == 0) {
            count++;
        }
    }
    return count;
}

/* --- Thresholds --- */

static int check_thresholds_entry(const hk_detector_t *detector, const uint8_t *entry, uint8_t *event)
{
    const uint8_t *thresholds = entry + NAME_BYTES;
    const int status = find_event(detector, entry, event);
    const hk_head_t *head = status == 0 ? hk_detector_head(detector, *event) : NULL;
    if (status != 0 || head == NULL) {
        return HK_ERROR_UNKNOWN;
    }
    if (thresholds[0] < thresholds[1] || thresholds[1] < thresholds[2] || thresholds[2] < 1 || thresholds[3] != 0) {
        return HK_ERROR_FORMAT;
    }
    return is_safety(*event) && thresholds[0] > head->threshold_low ? HK_ERROR_UNSAFE : HK_OK;
}

static int check_thresholds(const hk_update_envelope_t *envelope, const hk_listener_t *listener)
{
    if (envelope->payload_bytes % THRESHOLDS_BYTES != 0) {
        return HK_ERROR_FORMAT;
    }
    int status = HK_OK;
    for (uint16_t at = 0; status == 0 && at < envelope->payload_bytes; at = (uint16_t)(at + THRESHOLDS_BYTES)) {
        uint8_t event;
        status = check_thresholds_entry(&listener->detector, envelope->payload + at, &event);
    }
    return status;
}

/* A head that came later brings its own. */
static void use_thresholds(const hk_update_record_t *held, const uint32_t since[HK_HEADS_MAX], hk_listener_t *listener)
{
    for (uint16_t at = 0; at < held->envelope.payload_bytes; at = (uint16_t)(at + THRESHOLDS_BYTES)) {
        const uint8_t *entry = held->envelope.payload + at;
        uint8_t event;
        if (check_thresholds_entry(&listener->detector, entry, &event) == 0 && since[event] < held->sequence) {
            const uint8_t *given = entry + NAME_BYTES;
            const uint8_t thresholds[HK_TRACKER_SENSITIVITIES] = {
                [HK_SENSITIVITY_LOW] = given[0],
                [HK_SENSITIVITY_NORMAL] = given[1],
                [HK_SENSITIVITY_HIGH] = given[2],
            };
            (void)hk_tracker_set_thresholds(&listener->tracker, event, thresholds);
        }
    }
}

/* --- Settings --- */

static void read_times(const uint8_t *entry, hk_tracker_times_t *times)
{
    const uint8_t *at = entry + NAME_BYTES;
    *times = (hk_tracker_times_t){
        .repeat_ms = load_u16(at) | (uint32_t)load_u16(at + 2) << 16,
        .min_duration_ms = load_u16(at + 4),
        .max_gap_ms = load_u16(at + 6),
        .refractory_ms = load_u16(at + 8),
        .release_percent = at[10],
        .smoothing_shift = at[11],
    };
}

/* As soon and as often as the image's, or more. */
static bool is_as_prompt(const hk_tracker_times_t *times, const hk_tracker_event_params_t *own)
{
    return times->min_duration_ms <= own->min_duration_ms && times->refractory_ms <= own->refractory_ms
           && times->max_gap_ms >= own->max_gap_ms && times->smoothing_shift <= own->smoothing_shift
           && times->release_percent <= own->release_percent
           && (own->repeat_ms == 0 || (times->repeat_ms != 0 && times->repeat_ms <= own->repeat_ms));
}

static void read_alarm(const uint8_t *entry, hk_tracker_alarm_params_t *alarm)
{
    const uint8_t *at = entry + NAME_BYTES;
    *alarm = hk_tracker_default_params.alarm;
    alarm->lone_duration_ms = load_u16(at);
    alarm->persistent_ms = load_u16(at + 2);
    alarm->proven_percent = at[4];
    alarm->sure_scores[HK_SENSITIVITY_LOW] = at[5];
    alarm->sure_scores[HK_SENSITIVITY_NORMAL] = at[6];
    alarm->sure_scores[HK_SENSITIVITY_HIGH] = at[7];
}

static bool asks_no_more(const hk_tracker_alarm_params_t *alarm, const hk_tracker_alarm_params_t *own)
{
    bool is_less = alarm->lone_duration_ms <= own->lone_duration_ms && alarm->persistent_ms <= own->persistent_ms
                   && alarm->proven_percent <= own->proven_percent;
    for (uint32_t i = 0; i < HK_TRACKER_SENSITIVITIES; i++) {
        is_less = is_less && alarm->sure_scores[i] <= own->sure_scores[i];
    }
    return is_less;
}

static const hk_tracker_event_params_t *own_params(uint8_t event)
{
    return event == HK_EVENT_ADDED ? &hk_tracker_added_event_params : &hk_tracker_default_params.events[event];
}

/* Checks an entry of settings and, where `tracker` is given, makes it the tracker's. */
static int take_settings_entry(const hk_detector_t *detector, const uint8_t *entry, hk_tracker_t *tracker)
{
    if (entry[0] == 0) {
        hk_tracker_alarm_params_t alarm;
        read_alarm(entry, &alarm);
        if (!hk_tracker_alarm_is_valid(&alarm)) {
            return HK_ERROR_FORMAT;
        }
        if (!asks_no_more(&alarm, &hk_tracker_default_params.alarm)) {
            return HK_ERROR_UNSAFE;
        }
        return tracker == NULL ? HK_OK : hk_tracker_set_alarm_params(tracker, &alarm);
    }
    uint8_t event;
    hk_tracker_times_t times;
    if (find_event(detector, entry, &event) != 0) {
        return HK_ERROR_UNKNOWN;
    }
    read_times(entry, &times);
    if (!hk_tracker_times_are_valid(&times)) {
        return HK_ERROR_FORMAT;
    }
    if (is_safety(event) && !is_as_prompt(&times, own_params(event))) {
        return HK_ERROR_UNSAFE;
    }
    return tracker == NULL ? HK_OK : hk_tracker_set_times(tracker, event, &times);
}

static int check_settings(const hk_update_envelope_t *envelope, const hk_listener_t *listener)
{
    if (envelope->payload_bytes % SETTINGS_BYTES != 0) {
        return HK_ERROR_FORMAT;
    }
    int status = HK_OK;
    for (uint16_t at = 0; status == 0 && at < envelope->payload_bytes; at = (uint16_t)(at + SETTINGS_BYTES)) {
        status = take_settings_entry(&listener->detector, envelope->payload + at, NULL);
    }
    return status;
}

static void use_own_settings(hk_listener_t *listener)
{
    hk_tracker_t *tracker = &listener->tracker;
    (void)hk_tracker_set_alarm_params(tracker, &hk_tracker_default_params.alarm);
    for (uint8_t event = 0; event < tracker->params.event_count; event++) {
        const hk_tracker_event_params_t *own = own_params(event);
        const hk_tracker_times_t times = {
            .repeat_ms = own->repeat_ms,
            .min_duration_ms = own->min_duration_ms,
            .max_gap_ms = own->max_gap_ms,
            .refractory_ms = own->refractory_ms,
            .release_percent = own->release_percent,
            .smoothing_shift = own->smoothing_shift,
        };
        (void)hk_tracker_set_times(tracker, event, &times);
    }
}

/* --- All of them --- */

int hk_update_check(const hk_update_envelope_t *envelope, const hk_listener_t *listener)
{
    if (envelope->payload_bytes == 0) {
        return HK_OK; /* what the image brings has passed its tests */
    }
    if (envelope->part == HK_PART_MEDIA) {
        return envelope->payload_bytes == HK_MEDIA_SET_SEAL_BYTES ? HK_OK : HK_ERROR_FORMAT;
    }
    if (envelope->trial_seconds < HK_UPDATE_TRIAL_LEAST_SECONDS || envelope->trial_triggers < TRIAL_TRIGGERS_LEAST) {
        return HK_ERROR_FORMAT;
    }
    switch (envelope->part) {
    case HK_PART_HEAD:
        return envelope->vectors == 0 ? HK_ERROR_FORMAT : check_head(envelope);
    case HK_PART_THRESHOLDS:
        return check_thresholds(envelope, listener);
    default:
        return check_settings(envelope, listener);
    }
}

/* The latest update of a part that goes with this image. */
static bool find_fit(const hk_update_store_t *store, uint8_t part, hk_update_record_t *held)
{
    return hk_update_store_latest(store, part, "", held) != HK_UPDATE_NO_AREA
           && hk_update_envelope_check_trunk(&held->envelope, hk_trunk_hash) == 0;
}

uint8_t hk_update_use_all(const hk_update_store_t *store, hk_listener_t *listener)
{
    hk_head_t heads[HK_UPDATE_AREAS];
    uint32_t since[HK_HEADS_MAX] = {0};
    uint8_t barred = 0;
    hk_update_record_t held;
    const size_t count = open_heads(store, heads, since, &barred);
    (void)hk_listener_take_heads(listener, heads, count);
    if (find_fit(store, HK_PART_THRESHOLDS, &held)) {
        use_thresholds(&held, since, listener);
    }
    use_own_settings(listener);
    if (find_fit(store, HK_PART_SETTINGS, &held) && check_settings(&held.envelope, listener) == 0) {
        for (uint16_t at = 0; at < held.envelope.payload_bytes; at = (uint16_t)(at + SETTINGS_BYTES)) {
            (void)take_settings_entry(&listener->detector, held.envelope.payload + at, &listener->tracker);
        }
    }
    return barred;
}
