#include "library.h"

#include <string.h>

#include "hk_listener.h"

size_t hk_library_listener_bytes(void)
{
    return sizeof(hk_listener_t);
}

int hk_library_listener_init(void *listener)
{
    return hk_listener_init(listener);
}

void hk_library_set_armed(void *listener, int is_armed)
{
    hk_listener_t *self = listener;
    hk_tracker_set_armed(&self->tracker, is_armed != 0);
}

int hk_library_set_event(void *listener, uint8_t event, int is_enabled, uint8_t sensitivity)
{
    hk_listener_t *self = listener;
    return hk_tracker_set_event(&self->tracker, event, is_enabled != 0, sensitivity);
}

static hk_library_event_t packed(const hk_event_t *event)
{
    return (hk_library_event_t){
        .start_sample = event->start_sample,
        .trigger_sample = event->trigger_sample,
        .cadence_on_ms = event->cadence.on_ms,
        .cadence_off_ms = event->cadence.off_ms,
        .cadence_pause_ms = event->cadence.pause_ms,
        .cadence_kind = event->cadence.kind,
        .cadence_periods = event->cadence.periods,
        .cadence_confidence = event->cadence.confidence,
        .event = event->event,
        .score = event->score,
        .sensitivity = event->sensitivity,
        .is_armed = event->is_armed,
        .is_repeat = event->is_repeat,
        .is_renamed = event->is_renamed,
    };
}

size_t hk_library_listen(void *listener, const int16_t *pcm, size_t steps, int8_t *features, uint8_t *scores,
                         hk_library_event_t *events, size_t capacity)
{
    hk_listener_t *self = listener;
    size_t count = 0;
    for (size_t step = 0; step < steps; step++) {
        hk_event_t found[HK_TRACKER_EVENTS_MAX];
        const size_t n = hk_listener_step(self, pcm + step * HK_STEP_SAMPLES, found);
        for (size_t i = 0; i < n; i++, count++) {
            if (count < capacity) {
                events[count] = packed(&found[i]);
            }
        }
        if (features != NULL) {
            memcpy(features + step * HK_STEP_FEATURES, self->detector.features, HK_STEP_FEATURES);
        }
        if (scores != NULL) {
            memcpy(scores + step * HK_EVENT_COUNT, self->detector.event_scores, HK_EVENT_COUNT);
        }
    }
    return count;
}

const uint8_t *hk_library_model_hash(void)
{
    return hk_model_hash;
}
