#include "library.h"

#include <string.h>

#include "hk_model.h"

size_t hk_library_listener_bytes(void)
{
    return sizeof(hk_listener_t);
}

size_t hk_library_event_count(void)
{
    return HK_EVENT_COUNT;
}

const uint8_t *hk_library_model_hash(void)
{
    return hk_model_hash;
}

const uint8_t *hk_library_trunk_hash(void)
{
    return hk_trunk_hash;
}

size_t hk_library_trunk_outputs(void)
{
    return HK_ENGINE_OUTPUT_BYTES;
}

int hk_library_listener_take_head(void *listener, const uint8_t *blob, size_t len)
{
    return hk_listener_take_head(listener, blob, len);
}

int hk_library_listener_init(void *listener)
{
    return hk_listener_init(listener);
}

void hk_library_listener_set_armed(void *listener, int is_armed)
{
    hk_listener_t *ears = listener;
    hk_tracker_set_armed(&ears->tracker, is_armed != 0);
}

int hk_library_listener_set_event(void *listener, uint8_t event, int is_enabled, uint8_t sensitivity)
{
    hk_listener_t *ears = listener;
    return hk_tracker_set_event(&ears->tracker, event, is_enabled != 0, sensitivity);
}

int hk_library_listener_set_event_level(void *listener, uint8_t event, int is_enabled, uint8_t level)
{
    hk_listener_t *ears = listener;
    return hk_tracker_set_event_level(&ears->tracker, event, is_enabled != 0, level);
}

int hk_library_listener_set_alarm_params(void *listener, const hk_tracker_alarm_params_t *alarm)
{
    hk_listener_t *ears = listener;
    return hk_tracker_set_alarm_params(&ears->tracker, alarm);
}

void hk_library_listener_cadence(const void *listener, hk_cadence_evidence_t *evidence)
{
    const hk_listener_t *ears = listener;
    *evidence = ears->tracker.evidence;
}

size_t hk_library_listener_run(void *listener, const int16_t *pcm, size_t steps, int8_t *features, int8_t *trunk, uint8_t *scores,
                               hk_event_record_t *events)
{
    hk_listener_t *ears = listener;
    size_t written = 0;
    for (size_t step = 0; step < steps; step++) {
        hk_event_t found[HK_TRACKER_EVENTS_MAX];
        const size_t count = hk_listener_step(ears, pcm + step * HK_STEP_SAMPLES, found);
        memcpy(features + step * HK_STEP_FEATURES, ears->detector.features, HK_STEP_FEATURES);
        memcpy(trunk + step * HK_ENGINE_OUTPUT_BYTES, ears->detector.trunk, HK_ENGINE_OUTPUT_BYTES);
        memcpy(scores + step * HK_EVENT_COUNT, ears->detector.event_scores, HK_EVENT_COUNT);
        for (size_t n = 0; n < count; n++) {
            events[written++] = hk_event_record(&found[n]);
        }
    }
    return written;
}
