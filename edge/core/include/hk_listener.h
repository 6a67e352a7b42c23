/* Everything that happens to sound: detector, fingerprint, tracker and clip ring, one step at a time.
 *
 * Time is the number of samples heard. The caller owns the struct (about 50 KB, most of it the clip ring); nothing is
 * allocated, and the same PCM and choices give the same events on every machine. Not for use from an interrupt. */
#ifndef HK_LISTENER_H
#define HK_LISTENER_H

#include <stddef.h>
#include <stdint.h>

#include "hk_clip_ring.h"
#include "hk_detector.h"
#include "hk_fingerprint.h"
#include "hk_limits.h"
#include "hk_tracker.h"

#define HK_FINGERPRINT_USABLE_BYTES ((HK_TRIGGER_FINGERPRINT_WORDS + 7u) / 8u)
#define HK_FINGERPRINT_WORD_SAMPLES (HK_TRIGGER_FINGERPRINT_WORD_STEPS * HK_STEP_SAMPLES) /* from word to word */
/* A stream begins at once, as no sound does, and the detector's state is empty: what scores say in the first second is
 * not followed. An alarm that sounds already is named from its next pulses on. */
#define HK_LISTENER_SETTLING_SAMPLES (50u * HK_STEP_SAMPLES)

typedef struct {
    uint64_t samples_heard;
    hk_detector_t detector;
    hk_fingerprint_t fingerprint;
    hk_tracker_t tracker;
    hk_clip_ring_t ring;
    uint32_t words[HK_TRIGGER_FINGERPRINT_WORDS]; /* of each second step, the latest ones, a ring */
    uint32_t reliable[HK_TRIGGER_FINGERPRINT_WORDS];
    uint8_t usable[HK_FINGERPRINT_USABLE_BYTES]; /* bit i % 8 of byte i / 8: whether the word at place i is evidence */
    uint64_t latest_word_sample;                 /* where its step began */
    uint16_t word_count;
    uint16_t next_word; /* the place of the next word: that of the oldest one where all places are taken */
    uint8_t steps_to_word;
} hk_listener_t;

/* The latest fingerprint words, oldest first. */
typedef struct {
    const uint32_t *words;    /* in the listener, until its next step */
    const uint32_t *reliable; /* the bits of each that count in a match; as long as words */
    uint64_t first_sample;    /* where the first word's step began */
    uint16_t count;
    uint8_t usable[HK_FINGERPRINT_USABLE_BYTES]; /* bit i % 8 of byte i / 8: word i may be evidence for a safety event */
} hk_listener_words_t;

/* Starts a stream with the defaults of the catalogue, the thresholds of the heads, and disarmed.
 * Returns 0 or an error of hk_detector_init or hk_tracker_init. */
int hk_listener_init(hk_listener_t *listener);

/* Hears one step; writes what it made an event of to `events` and returns how many those are. */
size_t hk_listener_step(hk_listener_t *listener, const int16_t pcm[HK_STEP_SAMPLES],
                        hk_event_t events[HK_TRACKER_EVENTS_MAX]);

/* Lays the latest fingerprint words out. */
hk_listener_words_t hk_listener_fingerprint(hk_listener_t *listener);

/* Version of the head that scores an event of the catalogue; 0 where there is none. */
uint32_t hk_listener_head_version(const hk_listener_t *listener, uint8_t event);

/* Takes opened heads while listening (hk_detector_take_heads), with their thresholds; a new event is on from the next step.
 * Returns 0, or an error, and then changes nothing. */
int hk_listener_take_heads(hk_listener_t *listener, const hk_head_t *heads, size_t count);

/* The same with one head, still to be opened. */
int hk_listener_take_head(hk_listener_t *listener, const uint8_t *blob, size_t len);

#endif
