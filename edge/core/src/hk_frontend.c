#include "hk_frontend.h"

#include <string.h>

#include "hk_log2.h"

/* Word lengths. int16 enters the DC blocker in Q12: its output stays within twice its input, 2^28. The window halves
 * (Q31 by SMMUL): |z| <= sqrt(2) * 2^27. The first FFT stage grows by 4 to 2^29.5; each later stage divides its
 * inputs by 4 (Q30 twiddles by SMMUL), so that no sum leaves 32 bits, whatever the audio. A bin then holds 32 times the
 * DFT of the windowed int16 samples: white noise of one LSB stands 50 dB above the rounding. */
enum {
    DC_FRACTION_BITS = 12,
    POINTS = HK_FFT_SIZE / 2, /* two real samples are packed into one complex one */
    STAGE_SHIFT = 2,
    POWER_SHIFT = 8,          /* |bin|^2 = 2^10 |DFT|^2 is kept as 4 |DFT|^2 */
    ENERGY_LOG2 = 2 + HK_MEL_FRACTION_BITS,
    Q8_PER_FEATURE_STEP = 256 / HK_FEATURE_STEPS_PER_OCTAVE,
};

_Static_assert(POINTS == 256, "the radix-4 stages and the 8-bit order table are made for 256 points");
_Static_assert(HK_WINDOW_SAMPLES % 2 == 0 && HK_WINDOW_SAMPLES <= HK_FFT_SIZE, "a window fills pairs of one transform");
_Static_assert(HK_HOP_SAMPLES <= HK_WINDOW_SAMPLES, "no sample may fall between windows");
_Static_assert(sizeof(hk_bin_t) == sizeof(uint64_t), "a bin turns into its power in place");
_Static_assert(256 % HK_FEATURE_STEPS_PER_OCTAVE == 0, "a feature step is a whole number of Q8 steps");
/* By Parseval the powers of a frame sum to less than 2^58, 2^50 after POWER_SHIFT. */
_Static_assert(50 + HK_MEL_FRACTION_BITS < 64, "a band's energy fits 64 bits");

typedef struct {
    int32_t re;
    int32_t im;
} complex_t;

/* The upper half of a product: one SMMUL on a Cortex-M4. */
static inline int32_t multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

/* z * w / 4 for a Q30 twiddle w. */
static inline complex_t rotate(int32_t re, int32_t im, complex_t w)
{
    const complex_t product = {
        .re = (int32_t)(((int64_t)re * w.re + (int64_t)im * -w.im) >> 32), /* a sum: SMULL and SMLAL */
        .im = (int32_t)(((int64_t)re * w.im + (int64_t)im * w.re) >> 32),
    };
    return product;
}

static inline complex_t twiddle(uint32_t index)
{
    const complex_t w = {hk_twiddles_q30[2 * index], hk_twiddles_q30[2 * index + 1]};
    return w;
}

static void remove_dc(hk_frontend_t *frontend, const int16_t *pcm, int32_t *out)
{
    int32_t output = frontend->dc_output;
    int32_t input = frontend->dc_input;
    for (uint32_t n = 0; n < HK_HOP_SAMPLES; n++) {
        output += (pcm[n] - input) * (1 << DC_FRACTION_BITS) - (output >> HK_DC_POLE_SHIFT);
        input = pcm[n];
        out[n] = output;
    }
    frontend->dc_output = output;
    frontend->dc_input = (int16_t)input;
}

/* Windows the history and packs pairs of samples where the first FFT stage wants them. */
static void window_and_pack(hk_frontend_t *frontend)
{
    hk_bin_t *bins = frontend->bins;
    const int32_t *samples = frontend->history;
    const int32_t *window = hk_half_window_q31;
    const uint32_t quarter = HK_WINDOW_SAMPLES / 4;
    for (uint32_t n = 0; n < quarter; n++) {
        hk_bin_t *rising = &bins[hk_fft_order[n]];
        rising->z.re = multiply_high(samples[2 * n], window[2 * n]);
        rising->z.im = multiply_high(samples[2 * n + 1], window[2 * n + 1]);
        /* The window is symmetric: the second half reads the same table backwards. */
        const uint32_t mirror = HK_WINDOW_SAMPLES / 2 - 1 - n;
        hk_bin_t *falling = &bins[hk_fft_order[mirror]];
        falling->z.re = multiply_high(samples[2 * mirror], window[2 * n + 1]);
        falling->z.im = multiply_high(samples[2 * mirror + 1], window[2 * n]);
    }
    for (uint32_t n = HK_WINDOW_SAMPLES / 2; n < POINTS; n++) {
        bins[hk_fft_order[n]].power = 0; /* both halves of the bin */
    }
}

/* The sums of one radix-4 butterfly; inputs are turned already. */
static inline void butterfly(hk_bin_t *b0, uint32_t span, complex_t a, complex_t b, complex_t c, complex_t d)
{
    const complex_t even = {a.re + c.re, a.im + c.im};
    const complex_t even_difference = {a.re - c.re, a.im - c.im};
    const complex_t odd = {b.re + d.re, b.im + d.im};
    const complex_t odd_difference = {b.re - d.re, b.im - d.im};
    b0[0].z.re = even.re + odd.re;
    b0[0].z.im = even.im + odd.im;
    b0[span].z.re = even_difference.re + odd_difference.im; /* times -i */
    b0[span].z.im = even_difference.im - odd_difference.re;
    b0[2 * span].z.re = even.re - odd.re;
    b0[2 * span].z.im = even.im - odd.im;
    b0[3 * span].z.re = even_difference.re - odd_difference.im;
    b0[3 * span].z.im = even_difference.im + odd_difference.re;
}

/* Decimation in time, radix 4, in place; input in digit-reversed order, output in order. */
static void transform(hk_bin_t *bins)
{
    for (hk_bin_t *b = bins; b < bins + POINTS; b += 4) {
        const complex_t x0 = {b[0].z.re, b[0].z.im};
        const complex_t x1 = {b[1].z.re, b[1].z.im};
        const complex_t x2 = {b[2].z.re, b[2].z.im};
        const complex_t x3 = {b[3].z.re, b[3].z.im};
        butterfly(b, 1, x0, x1, x2, x3);
    }
    for (uint32_t span = 4; span < POINTS; span *= 4) {
        const uint32_t stride = HK_FFT_SIZE / (4 * span); /* between twiddles of this stage in the table */
        for (uint32_t j = 0; j < span; j++) {
            const complex_t w1 = twiddle(stride * j);
            const complex_t w2 = twiddle(2 * stride * j);
            const complex_t w3 = twiddle(3 * stride * j);
            for (hk_bin_t *b = bins + j; b < bins + POINTS; b += 4 * span) {
                const complex_t x0 = {b[0].z.re >> STAGE_SHIFT, b[0].z.im >> STAGE_SHIFT};
                const complex_t x1 = rotate(b[span].z.re, b[span].z.im, w1);
                const complex_t x2 = rotate(b[2 * span].z.re, b[2 * span].z.im, w2);
                const complex_t x3 = rotate(b[3 * span].z.re, b[3 * span].z.im, w3);
                butterfly(b, span, x0, x1, x2, x3);
            }
        }
    }
}

static inline uint64_t power_of(int32_t re, int32_t im)
{
    return ((uint64_t)((int64_t)re * re) + (uint64_t)((int64_t)im * im)) >> POWER_SHIFT;
}

/* Takes the spectrum of the real samples out of that of the packed pairs, and replaces it by its power. */
static void unpack_power(hk_bin_t *bins)
{
    /* Bin 0 is the sum of both; the bin at half the sample rate lies above the last band. */
    bins[0].power = power_of(bins[0].z.re + bins[0].z.im, 0);
    for (uint32_t k = 1; k <= POINTS / 2; k++) {
        hk_bin_t *low = &bins[k];
        hk_bin_t *high = &bins[POINTS - k];
        /* Halved spectra of the even and of i times the odd samples. */
        const complex_t even = {(low->z.re >> 1) + (high->z.re >> 1), (low->z.im >> 1) - (high->z.im >> 1)};
        const complex_t odd = {(low->z.re >> 1) - (high->z.re >> 1), (low->z.im >> 1) + (high->z.im >> 1)};
        const complex_t w = twiddle(k);
        /* -i w odd; rotate() divides by 4, which the shift takes back: 2 lost bits of 30 do not matter here. */
        const complex_t turned = rotate(odd.re, odd.im, w);
        const int32_t re = turned.im * 4;
        const int32_t im = -turned.re * 4;
        low->power = power_of(even.re + re, even.im + im);
        if (low != high) {
            high->power = power_of(even.re - re, even.im - im);
        }
    }
}

static void sum_bands(const hk_bin_t *bins, hk_frame_t *frame)
{
    uint64_t rising_before = 0; /* what the segment below gave to the band that now falls */
    for (uint32_t segment = 0; segment <= HK_MEL_BANDS; segment++) {
        uint64_t total = 0;
        uint64_t rising = 0;
        for (uint32_t bin = hk_mel_first_bins[segment]; bin < hk_mel_first_bins[segment + 1]; bin++) {
            total += bins[bin].power;
            rising += bins[bin].power * hk_mel_rise_q12[bin];
        }
        if (segment > 0) {
            const uint64_t falling = (total << HK_MEL_FRACTION_BITS) - rising;
            const int32_t log2_q8 = hk_log2_q8(rising_before + falling) - ENERGY_LOG2 * 256;
            frame->log_mel_q8[segment - 1] = (int16_t)(log2_q8 > 0 ? log2_q8 : 0);
        }
        rising_before = rising;
    }
}

void hk_frontend_init(hk_frontend_t *frontend)
{
    memset(frontend, 0, sizeof *frontend);
}

void hk_frontend_push(hk_frontend_t *frontend, const int16_t pcm[HK_HOP_SAMPLES], hk_frame_t *frame)
{
    const uint32_t kept = HK_WINDOW_SAMPLES - HK_HOP_SAMPLES;
    memmove(frontend->history, frontend->history + HK_HOP_SAMPLES, kept * sizeof frontend->history[0]);
    remove_dc(frontend, pcm, frontend->history + kept);
    window_and_pack(frontend);
    transform(frontend->bins);
    unpack_power(frontend->bins);
    sum_bands(frontend->bins, frame);
}

void hk_frame_features(const hk_frame_t *frame, int8_t features[HK_MEL_BANDS])
{
    for (uint32_t band = 0; band < HK_MEL_BANDS; band++) {
        const int32_t steps = (frame->log_mel_q8[band] + Q8_PER_FEATURE_STEP / 2) / Q8_PER_FEATURE_STEP;
        const int32_t value = steps - HK_FEATURE_OFFSET;
        features[band] = (int8_t)(value < INT8_MIN ? INT8_MIN : value > INT8_MAX ? INT8_MAX : value);
    }
}
