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
_Static_assert(HK_FINGERPRINT_CHANGE_SHIFT < 8 && HK_FINGERPRINT_RELIABLE_Q8 <= 256,
               "a share of a mean change, of 31 bits, fits 31 bits");
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

static uint8_t loudest_exponent(const hk_fingerprint_t *fingerprint)
{
    uint8_t exponent = 0;
    for (uint32_t n = 0; n < HK_FINGERPRINT_SLOPE_STEPS; n++) {
        exponent = fingerprint->steps[n].exponent > exponent ? fingerprint->steps[n].exponent : exponent;
    }
    return exponent;
}

/* Lists the steps that are audible beside the loudest; returns how many. */
static uint32_t list_terms(const hk_fingerprint_t *fingerprint, uint32_t exponent,
                           term_t terms[HK_FINGERPRINT_SLOPE_STEPS])
{
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

/* The slopes of all bands, times 2^exponent, which is returned. */
static uint8_t compute_slopes(const hk_fingerprint_t *fingerprint, int32_t slopes[HK_FINGERPRINT_BANDS])
{
    enum { LAST = HK_FINGERPRINT_BANDS - 1 };
    term_t terms[HK_FINGERPRINT_SLOPE_STEPS];
    const uint8_t exponent = loudest_exponent(fingerprint);
    const uint32_t count = list_terms(fingerprint, exponent, terms);
    for (uint32_t band = 0; band < LAST; band += BANDS_AT_ONCE) {
        sum_group(terms, count, band, slopes);
    }
    slopes[LAST] = 0;
    for (const term_t *term = terms; term < terms + count; term++) {
        slopes[LAST] += term->weight * (int32_t)(term->mantissas[LAST] >> term->shift);
    }
    return exponent;
}

/* Brings the mean changes to another exponent; what would not fit stays at the largest. */
static void rescale_changes(hk_fingerprint_t *fingerprint, uint8_t exponent)
{
    uint32_t *changes = fingerprint->changes;
    const int32_t fall = (int32_t)exponent - fingerprint->changes_exponent;
    for (uint32_t bit = 0; fall > 0 && bit < HK_FINGERPRINT_BITS; bit++) {
        changes[bit] = fall < 32 ? changes[bit] >> fall : 0;
    }
    for (uint32_t bit = 0; fall < 0 && bit < HK_FINGERPRINT_BITS; bit++) {
        const bool fits = -fall < 31 && changes[bit] <= (uint32_t)INT32_MAX >> -fall;
        changes[bit] = fits ? changes[bit] << -fall : (changes[bit] == 0 ? 0 : (uint32_t)INT32_MAX);
    }
    fingerprint->changes_exponent = exponent;
}

/* The weight 2^-shift of a new change in the mean: the first ones weigh about as much as each other. */
static uint32_t mean_shift(const hk_fingerprint_t *fingerprint)
{
    const uint32_t before = fingerprint->steps_heard - HK_FINGERPRINT_SLOPE_STEPS;
    const uint32_t shift = bit_length(before);
    return shift < HK_FINGERPRINT_CHANGE_SHIFT ? shift : HK_FINGERPRINT_CHANGE_SHIFT;
}

static void compute_word(hk_fingerprint_t *fingerprint, hk_fingerprint_word_t *word)
{
    int32_t slopes[HK_FINGERPRINT_BANDS];
    const uint8_t exponent = compute_slopes(fingerprint, slopes);
    if (exponent != fingerprint->changes_exponent) {
        rescale_changes(fingerprint, exponent);
    }
    const bool is_whole = fingerprint->steps_heard >= HK_FINGERPRINT_SLOPE_STEPS;
    const uint32_t shift = is_whole ? mean_shift(fingerprint) : 0;
    uint32_t *mean = fingerprint->changes;
    uint32_t bits = 0;
    uint32_t reliable = 0;
    for (uint32_t bit = 0; bit < HK_FINGERPRINT_BITS; bit++) {
        const int32_t gradient = slopes[bit + 1] - slopes[bit];
        const uint32_t sign = (uint32_t)gradient & 0x80000000u;
        const uint32_t change = (uint32_t)(gradient < 0 ? -gradient : gradient);
        mean[bit] += (change >> shift) - (mean[bit] >> shift);
        const uint32_t least = (mean[bit] >> 8) * HK_FINGERPRINT_RELIABLE_Q8;
        bits = bits >> 1 | sign; /* the first bit arrives at the bottom */
        reliable = reliable >> 1 | ((least - change) & 0x80000000u);
    }
    word->bits = bits;
    word->reliable = reliable;
}

/* Whether the bands hold more than silence, and that there is evidence beyond: no steady tone dominates. */
static void judge_word(const hk_fingerprint_t *fingerprint, hk_fingerprint_word_t *word)
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
    const bool is_heard = fingerprint->steps_heard >= HK_FINGERPRINT_SLOPE_STEPS
                          && in_band > (uint64_t)HK_FINGERPRINT_SLOPE_STEPS * HK_FINGERPRINT_SILENCE_POWER;
    word->reliable = is_heard ? word->reliable : 0;
    word->is_usable = is_heard && all < 100 * in_band && steady < in_band / 2;
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

int hk_fingerprint_push(hk_fingerprint_t *fingerprint, const hk_frontend_t *frontend, hk_fingerprint_word_t *word)
{
    add_frame(fingerprint, frontend);
    if (++fingerprint->frames_in_step < HK_FRAMES_PER_STEP) {
        return 0;
    }
    fingerprint->frames_in_step = 0;
    fingerprint->newest = (uint8_t)((fingerprint->newest + 1u) % HK_FINGERPRINT_SLOPE_STEPS);
    finish_step(fingerprint, &fingerprint->steps[fingerprint->newest]);
    if (fingerprint->steps_heard < HK_FINGERPRINT_SLOPE_STEPS + (1u << HK_FINGERPRINT_CHANGE_SHIFT)) {
        fingerprint->steps_heard++;
    }
    compute_word(fingerprint, word);
    judge_word(fingerprint, word);
    return 1;
}

/* Without the library call that processors without such an instruction would make of __builtin_popcount. */
static inline uint32_t count_ones(uint32_t value)
{
    value -= (value >> 1) & 0x55555555u;
    value = (value & 0x33333333u) + ((value >> 2) & 0x33333333u);
    return (((value + (value >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24;
}

static uint32_t reliable_bits(const hk_fingerprint_query_t *query, size_t word)
{
    return query->reliable == NULL ? UINT32_MAX : query->reliable[word];
}

/* A match so far, and how many more bits agree than by chance. */
typedef struct {
    hk_fingerprint_match_t *match;
    int64_t excess;
} best_t;

/* Keeps the less likely agreement: the larger excess / sqrt(bits), squared and without division. */
static void keep_better(best_t *best, int64_t offset, uint32_t bits, uint32_t errors)
{
    const int64_t excess = (int64_t)bits - 2 * (int64_t)errors;
    if (excess <= 0) {
        return;
    }
    if (best->excess == 0 || excess * excess * best->match->bits > best->excess * best->excess * bits) {
        best->excess = excess;
        *best->match = (hk_fingerprint_match_t){.offset = (int32_t)offset, .bits = bits, .bit_errors = errors};
    }
}

/* Of each stride-th word of a query from `first` on, before `end`. */
static uint32_t count_reliable(const hk_fingerprint_query_t *query, size_t first, size_t end, size_t stride)
{
    uint32_t bits = 0;
    for (size_t place = first; place < end; place += stride) {
        bits += count_ones(reliable_bits(query, place));
    }
    return bits;
}

static uint32_t count_errors(const hk_fingerprint_query_t *query, size_t first, size_t end, size_t stride,
                             const uint32_t *reference)
{
    uint32_t errors = 0;
    for (size_t place = first; place < end; place += stride) {
        errors += count_ones((query->words[place] ^ *reference++) & reliable_bits(query, place));
    }
    return errors;
}

int hk_fingerprint_match(const hk_fingerprint_query_t *query, const uint32_t *reference, size_t reference_words,
                         size_t stride, uint32_t min_bits, hk_fingerprint_match_t *best)
{
    if (min_bits == 0 || stride == 0 || query->count > HK_FINGERPRINT_QUERY_MAX
        || stride > HK_FINGERPRINT_STRIDE_MAX || reference_words > INT32_MAX / stride) {
        return HK_ERROR_ARGUMENT;
    }
    best_t found = {.match = best};
    const int64_t query_words = (int64_t)query->count;
    const int64_t every = (int64_t)stride;
    const int64_t span = ((int64_t)reference_words - 1) * every; /* of the reference, in the query's spacing */
    uint32_t bits_inside[HK_FINGERPRINT_STRIDE_MAX]; /* of a query within the reference, by its first place */
    for (size_t first = 0; first < stride; first++) {
        bits_inside[first] = count_reliable(query, first, query->count, stride);
    }
    for (int64_t offset = 1 - query_words; offset <= span; offset++) {
        const int64_t n = offset <= 0 ? 0 : (offset + every - 1) / every; /* the first word of the reference in reach */
        const size_t first = (size_t)(n * every - offset);
        const size_t end = (size_t)(span - offset < query_words - 1 ? span - offset + 1 : query_words);
        const bool is_inside = first < stride && end == query->count;
        const uint32_t bits = is_inside ? bits_inside[first] : count_reliable(query, first, end, stride);
        if (bits >= min_bits) {
            keep_better(&found, offset, bits, count_errors(query, first, end, stride, reference + n));
        }
    }
    return found.excess > 0 ? HK_OK : HK_ERROR_NOT_FOUND;
}

int hk_fingerprint_self_match(const hk_fingerprint_query_t *query, size_t min_lag, uint32_t min_bits,
                              hk_fingerprint_match_t *best)
{
    if (min_bits == 0 || min_lag == 0 || query->count > HK_FINGERPRINT_QUERY_MAX) {
        return HK_ERROR_ARGUMENT;
    }
    best_t found = {.match = best};
    for (size_t lag = min_lag; lag < query->count; lag++) {
        uint32_t bits = 0;
        uint32_t errors = 0;
        for (size_t n = 0; n + lag < query->count; n++) {
            const uint32_t counted = reliable_bits(query, n) & reliable_bits(query, n + lag);
            bits += count_ones(counted);
            errors += count_ones((query->words[n] ^ query->words[n + lag]) & counted);
        }
        if (bits >= min_bits) {
            keep_better(&found, (int64_t)lag, bits, errors);
        }
    }
    return found.excess > 0 ? HK_OK : HK_ERROR_NOT_FOUND;
}
