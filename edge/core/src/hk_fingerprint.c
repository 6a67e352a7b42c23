#include "hk_fingerprint.h"

#include <stdbool.h>
#include <string.h>

#include "hk_error.h"
#include "hk_fixed_point.h"

/* Band energies of a step keep 20 bits below the loudest one (60 dB): times the slope, they sum within 32 bits. */
enum {
    MANTISSA_BITS = 20,
    SHAPE_BITS = 11, /* are enough to compare the shapes of two spectra */
    BANDS_AT_ONCE = HK_HAS_MVE ? 8 : 4, /* as many sums as registers hold beside the rest */
};

_Static_assert(HK_FINGERPRINT_BANDS == HK_FINGERPRINT_BITS + 1, "a bit compares two neighbouring bands");
_Static_assert((int64_t)2 * HK_FINGERPRINT_SLOPE_STEPS * HK_FINGERPRINT_SLOPE_MAX * (1 << MANTISSA_BITS) < INT32_MAX,
               "the difference of two slopes of mantissas fits 32 bits");
_Static_assert(2 * SHAPE_BITS + 6 <= 28 && HK_FINGERPRINT_BANDS <= 64,
               "sums of squares fit 32 bits, and a hundred of their squares 64");
_Static_assert(HK_FINGERPRINT_BANDS % BANDS_AT_ONCE == 1, "slopes are summed in groups, and for one band more");
_Static_assert(HK_FINGERPRINT_MIN_IN_BAND_PERCENT == 1, "in_band > all / 100 is found out without division");
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

/* Energy between edges: from the lowest edge's bin to each edge, then differences. */
static void sum_bands(const uint64_t power[HK_FINGERPRINT_BINS], uint64_t bands[HK_FINGERPRINT_BANDS])
{
    uint32_t bin = HK_FINGERPRINT_FIRST_BIN;
    uint64_t whole = 0; /* bins below the one that the edge lies in */
    uint64_t before = 0;
    for (uint32_t edge = 0; edge <= HK_FINGERPRINT_BANDS; edge++) {
        const uint32_t position_q8 = hk_fingerprint_edges_q8[edge];
        for (; bin < position_q8 >> 8; bin++) {
            whole += *power++;
        }
        const uint64_t until = whole + ((*power * (position_q8 & 0xFFu)) >> 8);
        if (edge > 0) {
            bands[edge - 1] = until - before;
        }
        before = until;
    }
}

/* Whether two spectra have one shape, whatever their levels: the squared cosine between them. */
static bool have_one_shape(const hk_fingerprint_step_t *a, const hk_fingerprint_step_t *b)
{
    uint32_t aa = 0;
    uint32_t bb = 0;
    uint32_t ab = 0;
    for (uint32_t band = 0; band < HK_FINGERPRINT_BANDS; band++) {
        const uint32_t of_a = a->mantissas[band] >> (MANTISSA_BITS - SHAPE_BITS);
        const uint32_t of_b = b->mantissas[band] >> (MANTISSA_BITS - SHAPE_BITS);
        aa += of_a * of_a;
        bb += of_b * of_b;
        ab += of_a * of_b;
    }
    return (uint64_t)ab * ab * 100 > (uint64_t)aa * bb * HK_FINGERPRINT_STEADY_MIN_PERCENT;
}

/* The step `age` steps ago. */
static const hk_fingerprint_step_t *step_of_age(const hk_fingerprint_t *fingerprint, uint32_t age)
{
    const uint32_t newest = fingerprint->newest;
    return &fingerprint->steps[age <= newest ? newest - age : newest + HK_FINGERPRINT_SLOPE_STEPS - age];
}

/* Shifts by words of 32 bits, which takes 32-bit cores half of what a shift of 64 bits takes. */
static void keep_mantissas(hk_fingerprint_step_t *step, const uint64_t bands[HK_FINGERPRINT_BANDS])
{
    const uint32_t shift = step->exponent % 32u;
    const uint32_t words = step->exponent / 32u;
    for (uint32_t band = 0; band < HK_FINGERPRINT_BANDS; band++) {
        const uint32_t high = (uint32_t)(bands[band] >> 32);
        const uint32_t low = words == 0 ? (uint32_t)bands[band] : high;
        const uint32_t above = words == 0 ? high : 0;
        step->mantissas[band] = low >> shift | above << 1 << (31 - shift);
    }
}

static void finish_step(hk_fingerprint_t *fingerprint, hk_fingerprint_step_t *step)
{
    uint64_t bands[HK_FINGERPRINT_BANDS];
    sum_bands(fingerprint->power, bands);
    uint64_t in_band = 0;
    uint64_t bits = 0; /* of all bands together: as many as the loudest needs */
    for (uint32_t band = 0; band < HK_FINGERPRINT_BANDS; band++) {
        in_band += bands[band];
        bits |= bands[band];
    }
    step->in_band = in_band;
    const uint8_t length = bit_length(bits);
    step->exponent = length > MANTISSA_BITS ? (uint8_t)(length - MANTISSA_BITS) : 0;
    keep_mantissas(step, bands);
    step->all = fingerprint->all;
    step->is_steady = have_one_shape(step, step_of_age(fingerprint, HK_FINGERPRINT_STEADY_LAG_STEPS));
}

/* What a step of the past adds to the slopes. */
typedef struct {
    const uint32_t *mantissas;
    uint32_t shift; /* to the exponent that all are summed with */
    int32_t weight;
} term_t;

/* Lists the steps that are audible beside the loudest; returns how many. */
static uint32_t list_terms(const hk_fingerprint_t *fingerprint, term_t terms[HK_FINGERPRINT_SLOPE_STEPS])
{
    uint32_t exponent = 0;
    for (uint32_t n = 0; n < HK_FINGERPRINT_SLOPE_STEPS; n++) {
        exponent = fingerprint->steps[n].exponent > exponent ? fingerprint->steps[n].exponent : exponent;
    }
    uint32_t count = 0;
    for (uint32_t age = 0; age < HK_FINGERPRINT_SLOPE_STEPS; age++) {
        const hk_fingerprint_step_t *step = step_of_age(fingerprint, age);
        const uint32_t shift = exponent - step->exponent;
        if (shift < MANTISSA_BITS && hk_fingerprint_slope[age] != 0) {
            terms[count++] = (term_t){step->mantissas, shift, hk_fingerprint_slope[age]};
        }
    }
    return count;
}

/* The slopes of BANDS_AT_ONCE bands, whose sums stay in registers. */
static inline void sum_group(const term_t *terms, uint32_t count, uint32_t first_band, int32_t *slopes)
{
#if HK_HAS_MVE
    int32x4_t low = vdupq_n_s32(0);
    int32x4_t high = vdupq_n_s32(0);
    for (const term_t *term = terms; term < terms + count; term++) {
        const uint32_t *mantissas = term->mantissas + first_band;
        const int32_t shift = -(int32_t)term->shift;
        low = vmlaq_n_s32(low, vreinterpretq_s32_u32(vshlq_r_u32(vldrwq_u32(mantissas), shift)), term->weight);
        high = vmlaq_n_s32(high, vreinterpretq_s32_u32(vshlq_r_u32(vldrwq_u32(mantissas + 4), shift)), term->weight);
    }
    vstrwq_s32(slopes + first_band, low);
    vstrwq_s32(slopes + first_band + 4, high);
#else
    int32_t sums[BANDS_AT_ONCE] = {0};
    for (const term_t *term = terms; term < terms + count; term++) {
        const uint32_t *mantissas = term->mantissas + first_band;
#pragma GCC unroll 4
        for (uint32_t n = 0; n < BANDS_AT_ONCE; n++) {
            sums[n] += term->weight * (int32_t)(mantissas[n] >> term->shift);
        }
    }
    __builtin_memcpy(slopes + first_band, sums, sizeof sums); /* as stores, in a freestanding program too */
#endif
}

static uint32_t compute_word(const hk_fingerprint_t *fingerprint)
{
    enum { LAST = HK_FINGERPRINT_BANDS - 1 };
    term_t terms[HK_FINGERPRINT_SLOPE_STEPS];
    const uint32_t count = list_terms(fingerprint, terms);
    int32_t slopes[HK_FINGERPRINT_BANDS];
    for (uint32_t band = 0; band < LAST; band += BANDS_AT_ONCE) {
        sum_group(terms, count, band, slopes);
    }
    slopes[LAST] = 0;
    for (const term_t *term = terms; term < terms + count; term++) {
        slopes[LAST] += term->weight * (int32_t)(term->mantissas[LAST] >> term->shift);
    }
    uint32_t word = 0;
    for (uint32_t bit = 0; bit < HK_FINGERPRINT_BITS; bit++) {
        const uint32_t sign = (uint32_t)(slopes[bit + 1] - slopes[bit]) & 0x80000000u;
        word = word >> 1 | sign; /* the first bit arrives at the bottom */
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
           && all < 100 * in_band && steady < in_band / 2;
}

static void add_frame(hk_fingerprint_t *fingerprint, const hk_frontend_t *frontend)
{
    const hk_bin_t *bins = frontend->bins + HK_FINGERPRINT_FIRST_BIN;
    uint64_t *power = fingerprint->power;
    if (fingerprint->frames_in_step == 0) {
        for (uint32_t bin = 0; bin < HK_FINGERPRINT_BINS; bin++) {
            power[bin] = bins[bin].power;
        }
        fingerprint->all = frontend->total_power;
    } else {
        for (uint32_t bin = 0; bin < HK_FINGERPRINT_BINS; bin++) {
            power[bin] += bins[bin].power;
        }
        fingerprint->all += frontend->total_power;
    }
}

int hk_fingerprint_push(hk_fingerprint_t *fingerprint, const hk_frontend_t *frontend, uint32_t *word,
                        uint8_t *is_usable)
{
    add_frame(fingerprint, frontend);
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
