#include "hk_frontend.h"

#include <string.h>

#include "hk_fixed_point.h"
#include "hk_log2.h"

enum {
    DC_FRACTION_BITS = HK_SPECTRUM_INPUT_FRACTION_BITS,
    KEPT_SAMPLES = HK_WINDOW_SAMPLES - HK_HOP_SAMPLES, /* of one window, in the next */
    MOVED_AT_ONCE = 8,
    ENERGY_LOG2 = 2 + HK_MEL_FRACTION_BITS,
    Q8_PER_FEATURE_STEP = 256 / HK_FEATURE_STEPS_PER_OCTAVE,
};

_Static_assert(HK_HOP_SAMPLES <= HK_WINDOW_SAMPLES, "no sample may fall between windows");
_Static_assert(KEPT_SAMPLES % MOVED_AT_ONCE == 0 && MOVED_AT_ONCE <= HK_HOP_SAMPLES, "history moves in whole chunks");
_Static_assert(256 % HK_FEATURE_STEPS_PER_OCTAVE == 0, "a feature step is a whole number of Q8 steps");
/* By Parseval the powers of a frame sum to less than 2^58, 2^50 after the shift. */
_Static_assert(58 - HK_SPECTRUM_POWER_SHIFT + HK_MEL_FRACTION_BITS < 64, "a band's energy fits 64 bits");

/* Makes room for a hop: what memmove does, which on small C libraries goes byte by byte. */
static void forget_oldest(int32_t history[HK_WINDOW_SAMPLES])
{
    typedef struct {
        int32_t samples[MOVED_AT_ONCE];
    } chunk_t;
    for (uint32_t n = 0; n < KEPT_SAMPLES; n += MOVED_AT_ONCE) {
        *(chunk_t *)(void *)(history + n) = *(const chunk_t *)(const void *)(history + n + HK_HOP_SAMPLES);
    }
}

static void remove_dc(hk_frontend_t *frontend, const int16_t *pcm, int32_t *out)
{
    int32_t output = frontend->dc_output;
    int32_t input = frontend->dc_input;
#pragma GCC unroll 4
    for (uint32_t n = 0; n < HK_HOP_SAMPLES; n++) {
        const int32_t step = pcm[n] - input;
        input = pcm[n];
        output -= output >> HK_DC_POLE_SHIFT;
        output += step * (1 << DC_FRACTION_BITS);
        out[n] = output;
    }
    frontend->dc_output = output;
    frontend->dc_input = (int16_t)input;
}

/* What the bins between two neighbouring corners of the mel triangles hold. */
typedef struct {
    uint64_t total;  /* the sum of their powers */
    uint64_t rising; /* each times its weight in the triangle that rises here, Q12 */
} segment_sums_t;

#if HK_HAS_MVE

static inline segment_sums_t sum_segment(const hk_bin_t *bins, const uint16_t *rise, int32_t count)
{
    uint64_t total_low = 0;
    uint32_t total_high = 0;
    uint64_t rising_low = 0;
    uint32_t rising_high = 0;
    for (; count > 0; count -= 4, bins += 4, rise += 4) {
        /* Reads up to three bins beyond the segment, which are there, and leaves them out. */
        const mve_pred16_t inside = vctp32q((uint32_t)count);
        const uint32x4x2_t power = vld2q_u32(&bins->words.low);
        const uint32x4_t weights = vldrhq_z_u32(rise, inside);
        total_low = vaddlvaq_p_u32(total_low, power.val[0], inside);
        total_high = vaddvaq_p_u32(total_high, power.val[1], inside);
        rising_low = vmlaldavaq_u32(rising_low, power.val[0], weights);
        rising_high = vmladavaq_u32(rising_high, power.val[1], weights);
    }
    const segment_sums_t sums = {
        .total = total_low + ((uint64_t)total_high << 32),
        .rising = rising_low + ((uint64_t)rising_high << 32),
    };
    return sums;
}

#else

static inline segment_sums_t sum_segment(const hk_bin_t *bins, const uint16_t *rise, int32_t count)
{
    uint64_t total = 0;
    uint64_t rising_low = 0; /* of the powers' lower words, and of the upper ones */
    uint32_t rising_high = 0;
    for (const hk_bin_t *end = bins + count; bins < end; bins++, rise++) {
        const uint32_t low = bins->words.low;
        const uint32_t high = bins->words.high;
        const uint32_t weight = *rise;
        total += bins->power;
        rising_low += (uint64_t)low * weight;
        rising_high += high * weight;
    }
    const segment_sums_t sums = {.total = total, .rising = rising_low + ((uint64_t)rising_high << 32)};
    return sums;
}

#endif

/* Fills the frame and returns the power of the whole spectrum. */
static uint64_t sum_bands(const hk_bin_t *bins, hk_frame_t *frame)
{
    uint64_t all = 0;
    for (uint32_t bin = 0; bin < hk_mel_first_bins[0]; bin++) {
        all += bins[bin].power;
    }
    uint64_t rising_before = 0; /* what the segment below gave to the band that now falls */
    for (uint32_t segment = 0; segment <= HK_MEL_BANDS; segment++) {
        const uint32_t first = hk_mel_first_bins[segment];
        const int32_t count = (int32_t)(hk_mel_first_bins[segment + 1] - first);
        const segment_sums_t sums = sum_segment(bins + first, hk_mel_rise_q12 + first, count);
        if (segment > 0) {
            const uint64_t falling = (sums.total << HK_MEL_FRACTION_BITS) - sums.rising;
            const int32_t log2_q8 = hk_log2_q8(rising_before + falling) - ENERGY_LOG2 * 256;
            frame->log_mel_q8[segment - 1] = (int16_t)(log2_q8 > 0 ? log2_q8 : 0);
        }
        rising_before = sums.rising;
        all += sums.total;
    }
    for (uint32_t bin = hk_mel_first_bins[HK_MEL_BANDS + 1]; bin < HK_SPECTRUM_BINS; bin++) {
        all += bins[bin].power;
    }
    return all;
}

void hk_frontend_init(hk_frontend_t *frontend)
{
    memset(frontend, 0, sizeof *frontend);
}

void hk_frontend_push(hk_frontend_t *frontend, const int16_t pcm[HK_HOP_SAMPLES], hk_frame_t *frame)
{
    forget_oldest(frontend->history);
    remove_dc(frontend, pcm, frontend->history + KEPT_SAMPLES);
    hk_spectrum_compute(frontend->history, frontend->bins);
    frontend->total_power = sum_bands(frontend->bins, frame);
}

void hk_frame_features(const hk_frame_t *frame, int8_t features[HK_MEL_BANDS])
{
    for (uint32_t band = 0; band < HK_MEL_BANDS; band++) {
        const uint32_t log2_q8 = (uint16_t)frame->log_mel_q8[band]; /* never negative */
        const int32_t steps = (int32_t)((log2_q8 + Q8_PER_FEATURE_STEP / 2) / Q8_PER_FEATURE_STEP);
        features[band] = (int8_t)hk_saturate_8(steps - HK_FEATURE_OFFSET);
    }
}
