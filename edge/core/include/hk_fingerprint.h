/* Audio fingerprints: one 32-bit word every 20 ms, from the power spectra that the front end has computed already.
 *
 * After Haitsma and Kalker, "A highly robust audio fingerprinting system", ISMIR 2002: a bit says whether the energy
 * difference between two neighbouring bands (33 from 300 to 2000 Hz) rises or falls. The same recording, through a
 * loudspeaker and a room, keeps most bits; another one agrees in about half of them.
 *
 * Beside each word lies a mask of its reliable bits: those whose difference changes by more than a share of that bit's
 * own mean change of about the last second. What noise turns over is mostly the rest; and as each bit is measured
 * against itself, a steady tone, which is strong but hardly changes, weighs no more than silence does.
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

/* What one step gives. Bit b belongs to bands b and b + 1. It describes the sound around 130 ms ago. */
typedef struct {
    uint32_t bits;
    uint32_t reliable; /* the bits that count towards a match; none in silence or before 260 ms of the stream */
    uint8_t is_usable; /* 0 where silence or a steady tone (such as an alarm's) dominates: no evidence for a safety event */
} hk_fingerprint_word_t;

typedef struct {
    hk_fingerprint_step_t steps[HK_FINGERPRINT_SLOPE_STEPS]; /* a ring */
    uint64_t power[HK_FINGERPRINT_BINS];                     /* of the step so far, in the bands' bins */
    uint64_t all;                                            /* of the step so far, whole spectrum */
    uint32_t changes[HK_FINGERPRINT_BITS]; /* each bit's mean change, times 2^changes_exponent */
    uint32_t steps_heard;                  /* saturates */
    uint8_t changes_exponent;
    uint8_t newest; /* place of the last step in the ring */
    uint8_t frames_in_step;
} hk_fingerprint_t;

/* Starts a stream. */
void hk_fingerprint_init(hk_fingerprint_t *fingerprint);

/* Takes the frame that `frontend` computed last. Returns 1 every second frame, having written a word, else 0. */
int hk_fingerprint_push(hk_fingerprint_t *fingerprint, const hk_frontend_t *frontend, hk_fingerprint_word_t *word);

/* Words that lie one spacing apart, and which of their bits count. */
typedef struct {
    const uint32_t *words;
    const uint32_t *reliable; /* NULL: all bits count */
    size_t count;             /* at most HK_FINGERPRINT_QUERY_MAX */
} hk_fingerprint_query_t;

#define HK_FINGERPRINT_QUERY_MAX 32768 /* so that the sums below are exact in 64 bits */
#define HK_FINGERPRINT_STRIDE_MAX 8

/* Where a query fits a reference best. */
typedef struct {
    int32_t offset;      /* the query's first word lies at this word of the reference, in the query's spacing; may be < 0 */
    uint32_t bits;       /* compared: reliable ones of the query that the reference overlaps */
    uint32_t bit_errors; /* of those */
} hk_fingerprint_match_t;

/* Slides the query over the reference, its ends included, and finds the least likely agreement: the largest
 * z = (bits - 2 bit_errors) / sqrt(bits), so that a short overlap must agree better than a long one.
 * A reference may keep every stride-th word only (1 to HK_FINGERPRINT_STRIDE_MAX words of the query). Offsets that compare fewer than
 * min_bits (at least 1) are left out.
 * Returns 0; HK_ERROR_ARGUMENT where an argument is out of its range or the reference is longer than INT32_MAX words of
 * the query; HK_ERROR_NOT_FOUND where no offset compares enough bits and agrees better than by chance. */
int hk_fingerprint_match(const hk_fingerprint_query_t *query, const uint32_t *reference, size_t reference_words,
                         size_t stride, uint32_t min_bits, hk_fingerprint_match_t *best);

/* How well a query fits itself at another time, min_lag words or more away: a regular sound, such as an alarm's
 * cadence, fits any other of its kind about as well. A match is evidence of one recording only where it is clearly
 * better than this. min_lag (at least 1) should span more than the HK_FINGERPRINT_SLOPE_STEPS steps within which words
 * share their sound. A bit counts where both words of a pair rely on it. *best: offset is the lag. Returns as
 * hk_fingerprint_match does. */
int hk_fingerprint_self_match(const hk_fingerprint_query_t *query, size_t min_lag, uint32_t min_bits,
                              hk_fingerprint_match_t *best);

#endif
