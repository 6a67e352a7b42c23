#include "hk_listener.h"

#include <stdbool.h>
#include <string.h>

#include "hk_tracker_params.h"

_Static_assert(HK_HEADS_MAX <= HK_TRACKER_EVENTS_MAX, "the tracker follows every event that has a head");

static bool is_usable_at(const uint8_t *usable, uint32_t place)
{
    return ((usable[place / 8] >> (place % 8)) & 1u) != 0;
}

static void set_usable_at(uint8_t *usable, uint32_t place, bool is_usable)
{
    const uint32_t bit = 1u << (place % 8);
    usable[place / 8] = (uint8_t)((usable[place / 8] & ~bit) | (is_usable ? bit : 0));
}

static void remember_word(hk_listener_t *listener, const hk_fingerprint_word_t *word)
{
    const uint32_t place = listener->next_word;
    listener->words[place] = word->bits;
    listener->reliable[place] = word->reliable;
    set_usable_at(listener->usable, place, word->is_usable != 0);
    listener->latest_word_sample = listener->samples_heard;
    listener->next_word = (uint16_t)(place + 1 < HK_TRIGGER_FINGERPRINT_WORDS ? place + 1 : 0);
    if (listener->word_count < HK_TRIGGER_FINGERPRINT_WORDS) {
        listener->word_count++;
    }
}

static void reverse(uint32_t *words, uint32_t count)
{
    for (uint32_t i = 0, j = count; i + 1 < j; i++) {
        const uint32_t word = words[i];
        words[i] = words[--j];
        words[j] = word;
    }
}

static void turn(uint32_t words[HK_TRIGGER_FINGERPRINT_WORDS], uint32_t oldest)
{
    reverse(words, oldest);
    reverse(words + oldest, HK_TRIGGER_FINGERPRINT_WORDS - oldest);
    reverse(words, HK_TRIGGER_FINGERPRINT_WORDS);
}

/* Turns a full ring so that it begins with the oldest word. A trigger asks for that, and those are seldom: moving all
 * words every step would cost more than making them. */
static void lay_straight(hk_listener_t *listener)
{
    const uint32_t oldest = listener->next_word;
    if (listener->word_count < HK_TRIGGER_FINGERPRINT_WORDS || oldest == 0) {
        return;
    }
    uint8_t turned[HK_FINGERPRINT_USABLE_BYTES] = {0};
    for (uint32_t i = 0; i < HK_TRIGGER_FINGERPRINT_WORDS; i++) {
        set_usable_at(turned, i, is_usable_at(listener->usable, (oldest + i) % HK_TRIGGER_FINGERPRINT_WORDS));
    }
    memcpy(listener->usable, turned, sizeof turned);
    turn(listener->words, oldest);
    turn(listener->reliable, oldest);
    listener->next_word = 0;
}

static void fingerprint_frame(void *context, const hk_frontend_t *frontend, const hk_frame_t *frame)
{
    hk_listener_t *listener = context;
    (void)frame;
    hk_fingerprint_word_t word;
    if (hk_fingerprint_push(&listener->fingerprint, frontend, &word) == 0) {
        return;
    }
    if (listener->steps_to_word == 0) {
        remember_word(listener, &word);
        listener->steps_to_word = HK_TRIGGER_FINGERPRINT_WORD_STEPS;
    }
    listener->steps_to_word--;
}

static int use_thresholds(hk_listener_t *listener)
{
    int status = 0;
    for (uint8_t i = 0; status == 0 && i < listener->detector.head_count; i++) {
        const hk_head_t *head = &listener->detector.heads[i];
        const uint8_t thresholds[HK_TRACKER_SENSITIVITIES] = {
            [HK_SENSITIVITY_LOW] = head->threshold_low,
            [HK_SENSITIVITY_NORMAL] = head->threshold_normal,
            [HK_SENSITIVITY_HIGH] = head->threshold_high,
        };
        status = hk_tracker_set_thresholds(&listener->tracker, listener->detector.head_events[i], thresholds);
    }
    return status;
}

int hk_listener_init(hk_listener_t *listener)
{
    memset(listener, 0, sizeof *listener);
    int status = hk_detector_init(&listener->detector);
    if (status == 0) {
        status = hk_tracker_init(&listener->tracker, &hk_tracker_default_params);
    }
    if (status == 0) {
        status = use_thresholds(listener);
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
    static const uint8_t nothing_heard[HK_HEADS_MAX] = { 0 };
    const bool is_settled = listener->samples_heard > HK_LISTENER_SETTLING_SAMPLES;
    return hk_tracker_step(&listener->tracker, listener->detector.frames,
                           is_settled ? listener->detector.event_scores : nothing_heard, listener->samples_heard, events);
}

hk_listener_words_t hk_listener_fingerprint(hk_listener_t *listener)
{
    lay_straight(listener);
    const uint32_t count = listener->word_count;
    hk_listener_words_t latest = {
        .words = listener->words,
        .reliable = listener->reliable,
        .count = listener->word_count,
    };
    if (count > 0) {
        latest.first_sample = listener->latest_word_sample - (uint64_t)(count - 1) * HK_FINGERPRINT_WORD_SAMPLES;
    }
    memcpy(latest.usable, listener->usable, sizeof latest.usable); /* bits of words not heard yet are 0 */
    return latest;
}

uint32_t hk_listener_head_version(const hk_listener_t *listener, uint8_t event)
{
    const hk_head_t *head = hk_detector_head(&listener->detector, event);
    return head == NULL ? 0 : head->head_version;
}

int hk_listener_take_heads(hk_listener_t *listener, const hk_head_t *heads, size_t count)
{
    int status = hk_detector_take_heads(&listener->detector, heads, count);
    if (status != 0) {
        return status;
    }
    const bool was_added = listener->tracker.params.event_count > HK_EVENT_COUNT;
    const bool is_added = hk_detector_head(&listener->detector, HK_EVENT_ADDED) != NULL;
    if (was_added && !is_added) {
        hk_tracker_keep_events(&listener->tracker, HK_EVENT_COUNT);
    } else if (is_added && !was_added) {
        status = hk_tracker_add_event(&listener->tracker, &hk_tracker_added_event_params);
    }
    return status == 0 ? use_thresholds(listener) : status;
}

int hk_listener_take_head(hk_listener_t *listener, const uint8_t *blob, size_t len)
{
    hk_head_t head;
    const int status = hk_head_open(&head, blob, len);
    return status == 0 ? hk_listener_take_heads(listener, &head, 1) : status;
}
