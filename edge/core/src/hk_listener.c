#include "hk_listener.h"

#include <string.h>

#include "hk_tracker_params.h"

_Static_assert(HK_EVENT_COUNT <= HK_TRACKER_EVENTS_MAX, "the tracker follows every event of the catalogue");

static void remember_word(hk_listener_t *listener, uint32_t word, uint8_t is_usable)
{
    enum { LAST = HK_TRIGGER_FINGERPRINT_WORDS - 1 };
    memmove(listener->words, listener->words + 1, LAST * sizeof listener->words[0]);
    memmove(listener->is_usable, listener->is_usable + 1, LAST);
    listener->words[LAST] = word;
    listener->is_usable[LAST] = is_usable;
    if (listener->word_count < HK_TRIGGER_FINGERPRINT_WORDS) {
        listener->word_count++;
    }
}

static void fingerprint_frame(void *context, const hk_frontend_t *frontend, const hk_frame_t *frame)
{
    hk_listener_t *listener = context;
    (void)frame;
    uint32_t word;
    uint8_t is_usable;
    if (hk_fingerprint_push(&listener->fingerprint, frontend, &word, &is_usable) == 1) {
        remember_word(listener, word, is_usable);
    }
}

int hk_listener_init(hk_listener_t *listener)
{
    memset(listener, 0, sizeof *listener);
    int status = hk_detector_init(&listener->detector);
    if (status == 0) {
        status = hk_tracker_init(&listener->tracker, &hk_tracker_default_params);
    }
    for (uint8_t i = 0; status == 0 && i < listener->detector.head_count; i++) {
        const hk_head_t *head = &listener->detector.heads[i];
        const uint8_t thresholds[HK_TRACKER_SENSITIVITIES] = {
            [HK_SENSITIVITY_LOW] = head->threshold_low,
            [HK_SENSITIVITY_NORMAL] = head->threshold_normal,
            [HK_SENSITIVITY_HIGH] = head->threshold_high,
        };
        status = hk_tracker_set_thresholds(&listener->tracker, listener->detector.head_events[i], thresholds);
    }
    hk_fingerprint_init(&listener->fingerprint);
    hk_clip_ring_init(&listener->ring);
    return status;
}

size_t hk_listener_step(hk_listener_t *listener, const int16_t pcm[HK_STEP_SAMPLES],
                        hk_event_t events[HK_TRACKER_EVENTS_MAX])
{
    hk_clip_ring_push(&listener->ring, pcm, HK_STEP_SAMPLES);
    hk_detector_step(&listener->detector, pcm, fingerprint_frame, listener);
    listener->samples_heard += HK_STEP_SAMPLES;
    return hk_tracker_step(&listener->tracker, listener->detector.frames, listener->detector.event_scores,
                           listener->samples_heard, events);
}

uint16_t hk_listener_fingerprint(const hk_listener_t *listener, const uint32_t **words,
                                 uint8_t mask[HK_FINGERPRINT_MASK_BYTES], uint64_t *first_sample)
{
    const uint16_t count = listener->word_count;
    const uint16_t first = (uint16_t)(HK_TRIGGER_FINGERPRINT_WORDS - count);
    memset(mask, 0, HK_FINGERPRINT_MASK_BYTES);
    for (uint16_t i = 0; i < count; i++) {
        if (listener->is_usable[first + i]) {
            mask[i / 8] = (uint8_t)(mask[i / 8] | (1u << (i % 8)));
        }
    }
    *words = listener->words + first;
    *first_sample = listener->samples_heard - (uint64_t)count * HK_STEP_SAMPLES;
    return count;
}

uint32_t hk_listener_head_version(const hk_listener_t *listener, uint8_t event)
{
    for (uint8_t i = 0; i < listener->detector.head_count; i++) {
        if (listener->detector.head_events[i] == event) {
            return listener->detector.heads[i].head_version;
        }
    }
    return 0;
}
