#include "hk_fingerprint.h"

#include <stdbool.h>
#include <string.h>

#include "hk_error.h"

/* Band energies of a step keep 20 bits below the loudest one (60 dB): times the slope, they sum within 32 bits. */
enum {
    MANTISSA_BITS = 20,
    SHAPE_BITS = 11, /* are enough to compare the shapes of two spectra */
};

_Static_assert(HK_FINGERPRINT_BANDS == HK_FINGERPRINT_BITS + 1, "a bit compares two neighbouring bands");
_Static_assert((int64_t)HK_FINGERPRINT_SLOPE_STEPS * HK_FINGERPRINT_SLOPE_MAX * (1 << MANTISSA_BITS) < INT32_MAX,
               "a slope of mantissas fits 32 bits");
_Static_assert(2 * SHAPE_BITS + 6 <= 28 && HK_FINGERPRINT_BANDS <= 64, "a hundred squared sums of squares fit 64 bits");
_Static_assert(HK_FINGERPRINT_STEADY_LAG_STEPS < HK_FINGERPRINT_SLOPE_STEPS, "the ring holds the step to compare with");
_Static_assert(HK_FRAMES_PER_STEP == 2, "a step is two frames");

void hk_fingerprint_init(hk_fingerprint_t *fingerprint)
{
    memset(fingerprint, 0, sizeof *fingerprint);
}

/* Bits that a value needs: 0 .. 64. */
static uint8_t bit_length(uint64_t value)
{
    return value == 0 ? 0 : (uint8_t)(64 - __builtin_clzll(value));
}

/* Energy of the spectrum from its start to each edge, then between edges. */
static void sum_bands(const uint64_t *power, uint64_t bands[HK_FINGERPRINT_BANDS])
{
    uint32_t bin = hk_fingerprint_edges_q8[0] >> 8;
    uint64_t whole = 0; /* bins below the one that the edge lies in */
    uint64_t before = 0;
    for (uint32_t edge = 0; edge <= HK_FINGERPRINT_BANDS; edge++) {
        const uint32_t position_q8 = hk_fingerprint_edges_q8[edge];
        while (bin < position_q8 >> 8) {
            whole += power[bin++];
        }
        const uint64_t until = whole + ((power[bin] * (position_q8 & 0xFFu)) >> 8);
        if (edge > 0) {
            bands[edge - 1] = until - before;
        }
        before = until;
    }
}

/* Whether two spectra have one shape, whatever their levels: the squared cosine between them. */
static bool have_one_shape(const hk_fingerprint_step_t *a, const hk_fingerprint_step_t *b)
{
    uint64_t aa = 0;
    uint64_t bb = 0;
    uint64_t ab = 0;
    for (uint32_t band = 0; band < HK_FINGERPRINT_BANDS; band++) {
        const uint64_t of_a = a->mantissas[band] >> (MANTISSA_BITS - SHAPE_BITS);
        const uint64_t of_b = b->mantissas[band] >> (MANTISSA_BITS - SHAPE_BITS);
        aa += of_a * of_a;
        bb += of_b * of_b;
        ab += of_a * of_b;
    }
    return ab * ab * 100 > aa * bb * HK_FINGERPRINT_STEADY_MIN_PERCENT;
}

/* The step `age` steps ago. */
static const hk_fingerprint_step_t *step_of_age(const hk_fingerprint_t *fingerprint, uint32_t age)
{
    const uint32_t place = fingerprint->newest + HK_FINGERPRINT_SLOPE_STEPS - age;
    return &fingerprint->steps[place % HK_FINGERPRINT_SLOPE_STEPS];
}

static void finish_step(hk_fingerprint_t *fingerprint, hk_fingerprint_step_t *step)
{
    uint64_t bands[HK_FINGERPRINT_BANDS];
    sum_bands(fingerprint->power, bands);
    uint64_t loudest = 0;
    step->in_band = 0;
    for (uint32_t band = 0; band < HK_FINGERPRINT_BANDS; band++) {
        step->in_band += bands[band];
        loudest = bands[band] > loudest ? bands[band] : loudest;
    }
    const uint8_t length = bit_length(loudest);
    step->exponent = length > MANTISSA_BITS ? (uint8_t)(length - MANTISSA_BITS) : 0;
    for (uint32_t band = 0; band < HK_FINGERPRINT_BANDS; band++) {
        step->mantissas[band] = (uint32_t)(bands[band] >> step->exponent);
    }
    step->all = fingerprint->all;
    step->is_steady = have_one_shape(step, step_of_age(fingerprint, HK_FINGERPRINT_STEADY_LAG_STEPS));
}

static uint32_t compute_word(const hk_fingerprint_t *fingerprint)
{
    uint8_t exponent = 0;
    for (uint32_t n = 0; n < HK_FINGERPRINT_SLOPE_STEPS; n++) {
        exponent = fingerprint->steps[n].exponent > exponent ? fingerprint->steps[n].exponent : exponent;
    }
    int32_t slopes[HK_FINGERPRINT_BANDS] = {0};
    for (uint32_t age = 0; age < HK_FINGERPRINT_SLOPE_STEPS; age++) {
        const hk_fingerprint_step_t *step = step_of_age(fingerprint, age);
        const uint32_t shift = (uint32_t)(exponent - step->exponent);
        if (shift >= MANTISSA_BITS) {
            continue; /* inaudible beside the loudest */
        }
        for (uint32_t band = 0; band < HK_FINGERPRINT_BANDS; band++) {
            slopes[band] += hk_fingerprint_slope[age] * (int32_t)(step->mantissas[band] >> shift);
        }
    }
    uint32_t word = 0;
    for (uint32_t bit = 0; bit < HK_FINGERPRINT_BITS; bit++) {
        word |= (uint32_t)(slopes[bit] > slopes[bit + 1]) << bit;
    }
    return word;
}

static bool is_evidence(const hk_fingerprint_t *fingerprint)
{
    uint64_t in_band = 0;
    uint64_t all = 0;
    uint64_t steady = 0;
    for (uint32_t n = 0; n < HK_FINGERPRINT_SLOPE_STEPS; n++) {
        const hk_fingerprint_step_t *step = &fingerprint->steps[n];
        in_band += step->in_band;
        all += step->all;
        steady += step->is_steady ? step->in_band : 0;
    }
    return fingerprint->steps_heard >= HK_FINGERPRINT_SLOPE_STEPS
           && in_band > (uint64_t)HK_FINGERPRINT_SLOPE_STEPS * HK_FINGERPRINT_SILENCE_POWER
           && in_band > all / 100 * HK_FINGERPRINT_MIN_IN_BAND_PERCENT && steady < in_band / 2;
}

int hk_fingerprint_push(hk_fingerprint_t *fingerprint, const hk_frontend_t *frontend, uint32_t *word,
                        uint8_t *is_usable)
{
    if (fingerprint->frames_in_step == 0) {
        memset(fingerprint->power, 0, sizeof fingerprint->power);
        fingerprint->all = 0;
    }
    for (uint32_t bin = 0; bin < HK_SPECTRUM_BINS; bin++) {
        const uint64_t power = hk_frontend_power(frontend, bin);
        fingerprint->all += power;
        if (bin < HK_FINGERPRINT_BINS) {
            fingerprint->power[bin] += power;
        }
    }
    if (++fingerprint->frames_in_step < HK_FRAMES_PER_STEP) {
        return 0;
    }
    fingerprint->frames_in_step = 0;
    fingerprint->newest = (uint8_t)((fingerprint->newest + 1u) % HK_FINGERPRINT_SLOPE_STEPS);
    finish_step(fingerprint, &fingerprint->steps[fingerprint->newest]);
    if (fingerprint->steps_heard < HK_FINGERPRINT_SLOPE_STEPS) {
        fingerprint->steps_heard++;
    }
    *word = compute_word(fingerprint);
    *is_usable = is_evidence(fingerprint);
    return 1;
}

static uint32_t count_ones(uint32_t value)
{
    return (uint32_t)__builtin_popcount(value);
}

uint32_t hk_fingerprint_bit_errors(const uint32_t *a, const uint32_t *b, size_t word_count)
{
    uint32_t errors = 0;
    for (size_t n = 0; n < word_count; n++) {
        errors += count_ones(a[n] ^ b[n]);
    }
    return errors;
}

static bool counts(const uint8_t *usable, size_t word)
{
    return usable == NULL || (((uint32_t)usable[word / 8] >> (word % 8)) & 1u) != 0;
}

/* Keeps the less likely agreement: (expected - found errors) / sqrt(words), squared and without division. */
static void keep_better(hk_fingerprint_match_t *best, int64_t *best_excess, int64_t offset, uint32_t words,
                        uint32_t errors)
{
    const int64_t excess = (int64_t)words * (HK_FINGERPRINT_BITS / 2) - errors;
    if (excess <= 0) {
        return;
    }
    if (*best_excess == 0 || excess * excess * best->words > *best_excess * *best_excess * words) {
        *best_excess = excess;
        *best = (hk_fingerprint_match_t){.offset = (int32_t)offset, .words = words, .bit_errors = errors};
    }
}

int hk_fingerprint_match(const uint32_t *query, const uint8_t *usable, size_t query_words, const uint32_t *reference,
                         size_t reference_words, size_t min_words, hk_fingerprint_match_t *best)
{
    if (min_words == 0 || query_words > INT32_MAX || reference_words > INT32_MAX) {
        return HK_ERROR_ARGUMENT;
    }
    int64_t best_excess = 0;
    for (int64_t offset = 1 - (int64_t)query_words; offset < (int64_t)reference_words; offset++) {
        const size_t first = offset < 0 ? (size_t)-offset : 0;
        const size_t room = (size_t)((int64_t)reference_words - offset);
        const size_t end = query_words < room ? query_words : room;
        if (end - first < min_words) {
            continue;
        }
        uint32_t words = 0;
        uint32_t errors = 0;
        for (size_t n = first; n < end; n++) {
            if (counts(usable, n)) {
                words++;
                errors += count_ones(query[n] ^ reference[(size_t)((int64_t)n + offset)]);
            }
        }
        if (words >= min_words) {
            keep_better(best, &best_excess, offset, words, errors);
        }
    }
    return best_excess > 0 ? HK_OK : HK_ERROR_NOT_FOUND;
}

int hk_fingerprint_self_match(const uint32_t *query, const uint8_t *usable, size_t query_words, size_t min_lag,
                              size_t min_words, hk_fingerprint_match_t *best)
{
    if (min_words == 0 || min_lag <= HK_FINGERPRINT_SLOPE_STEPS || query_words > INT32_MAX) {
        return HK_ERROR_ARGUMENT;
    }
    int64_t best_excess = 0;
    for (size_t lag = min_lag; lag < query_words; lag++) {
        uint32_t words = 0;
        uint32_t errors = 0;
        for (size_t n = 0; n + lag < query_words; n++) {
            if (counts(usable, n) && counts(usable, n + lag)) {
                words++;
                errors += count_ones(query[n] ^ query[n + lag]);
            }
        }
        if (words >= min_words) {
            keep_better(best, &best_excess, (int64_t)lag, words, errors);
        }
    }
    return best_excess > 0 ? HK_OK : HK_ERROR_NOT_FOUND;
}
