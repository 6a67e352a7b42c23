/* Audio fingerprints: one 32-bit word every 20 ms, from the power spectra that the front end has computed already.
 *
 * After Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002: a bit says whether the energy
 * difference between two neighbouring bands (33 from 300 to 2000 Hz) rises or falls. The same recording, through a
 * loudspeaker and a room, keeps most bits; another one agrees in about half of them.
 *
 * The caller owns all memory. One state belongs to one stream; calls on it must not overlap. */
#ifndef HK_FINGERPRINT_H
#define HK_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

#include "hk_frontend.h"

#define HK_FINGERPRINT_BITS 32

/* What one step held. A band's energy is its mantissa times 2^exponent. */
typedef struct {
    uint64_t in_band;  /* energy of the bands */
    uint64_t all;      /* energy of the whole spectrum */
    uint32_t mantissas[HK_FINGERPRINT_BANDS];
    uint8_t exponent;
    uint8_t is_steady; /* its spectrum is that of HK_FINGERPRINT_STEADY_LAG_STEPS before */
} hk_fingerprint_step_t;

typedef struct {
    hk_fingerprint_step_t steps[HK_FINGERPRINT_SLOPE_STEPS]; /* a ring */
    uint64_t power[HK_FINGERPRINT_BINS];                     /* of the step so far, in the bands' bins */
    uint64_t all;                                            /* of the step so far, whole spectrum */
    uint32_t steps_heard;                                    /* saturates */
    uint8_t newest;                                          /* place of the last step in the ring */
    uint8_t frames_in_step;
} hk_fingerprint_t;

/* Starts a stream. */
void hk_fingerprint_init(hk_fingerprint_t *fingerprint);

/* Takes the frame that `frontend` computed last. Returns 1 every second frame, having written a word, else 0.
 * Bit b of the word belongs to bands b and b + 1. The word describes the sound around 130 ms ago.
 * *is_usable is 0 where the word is no evidence of media: silence, or a steady tone (such as an alarm's) dominates,
 * or the stream is younger than the word's 260 ms. */
int hk_fingerprint_push(hk_fingerprint_t *fingerprint, const hk_frontend_t *frontend, uint32_t *word,
                        uint8_t *is_usable);

/* How many bits differ between two runs of words. */
uint32_t hk_fingerprint_bit_errors(const uint32_t *a, const uint32_t *b, size_t word_count);

/* Where a query fits a reference best. */
typedef struct {
    int32_t offset;      /* the query's first word lies at this word of the reference; may be negative */
    uint32_t words;      /* compared: usable words of the query that the reference overlaps */
    uint32_t bit_errors; /* of HK_FINGERPRINT_BITS * words */
} hk_fingerprint_match_t;

/* Slides the query over the reference, its ends included, and finds the least likely agreement: the largest
 * (expected - found bit errors) / sqrt(words), so that a short overlap must agree better than a long one.
 * usable: bit n (byte n / 8, low bit first) says whether word n of the query counts; NULL: all do. Offsets that compare
 * fewer than min_words (at least 1) are left out.
 * Returns 0; HK_ERROR_ARGUMENT where min_words is 0 or a count exceeds INT32_MAX; HK_ERROR_NOT_FOUND where no offset
 * compares enough words and agrees better than by chance. */
int hk_fingerprint_match(const uint32_t *query, const uint8_t *usable, size_t query_words, const uint32_t *reference,
                         size_t reference_words, size_t min_words, hk_fingerprint_match_t *best);

/* How well a query fits itself at another time, min_lag words or more away: a regular sound, such as an alarm's
 * cadence, fits any other of its kind about as well. A match is evidence of one recording only where it is clearly
 * better than this. min_lag must exceed HK_FINGERPRINT_SLOPE_STEPS, within which words share their sound.
 * Both words of a pair must count. *best: offset is the lag. Returns as hk_fingerprint_match does. */
int hk_fingerprint_self_match(const uint32_t *query, const uint8_t *usable, size_t query_words, size_t min_lag,
                              size_t min_words, hk_fingerprint_match_t *best);

#endif
