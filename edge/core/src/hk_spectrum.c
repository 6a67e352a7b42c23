/* The spectrum in plain C. The compiler makes SMMUL, SMULL and SMLAL of the products on cores that have them. */
#include "hk_spectrum.h"

#include "hk_fixed_point.h"

#if !HK_HAS_MVE

enum {
    POINTS = HK_SPECTRUM_POINTS,
    QUARTER = POINTS / 4,
    FOUR_INPUTS = HK_WINDOW_SAMPLES / 2 - 3 * QUARTER, /* butterflies of the first stage that have four */
};

_Static_assert(FOUR_INPUTS >= 0 && HK_WINDOW_SAMPLES < HK_FFT_SIZE,
               "the window ends in the last quarter of the transform");

typedef struct {
    int32_t re;
    int32_t im;
} complex_t;

#define HK_INLINE static inline __attribute__((always_inline))

/* The upper half of a product. */
HK_INLINE int32_t multiply_high(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b) >> 32);
}

/* Both parts of a bin by one load, where a core has one for two words. */
HK_INLINE complex_t load(const hk_bin_t *bin)
{
    const uint64_t both = bin->power;
    const complex_t z = {(int32_t)(uint32_t)both, (int32_t)(uint32_t)(both >> 32)};
    return z;
}

/* z * w / 4 for a Q30 twiddle w. */
HK_INLINE complex_t rotate(complex_t z, const int32_t *w)
{
    const int32_t w_re = w[0];
    const int32_t w_im = w[1];
    const complex_t product = {
        .re = (int32_t)(((int64_t)z.re * w_re + (int64_t)z.im * -w_im) >> 32),
        .im = (int32_t)(((int64_t)z.im * w_re + (int64_t)z.re * w_im) >> 32),
    };
    return product;
}

/* z / 4: rotate() by a twiddle of 1. */
HK_INLINE complex_t quarter(const hk_bin_t *bin)
{
    const complex_t z = load(bin);
    const complex_t quarter = {z.re >> HK_SPECTRUM_STAGE_SHIFT, z.im >> HK_SPECTRUM_STAGE_SHIFT};
    return quarter;
}

/* The sums of one radix-4 butterfly; inputs are turned already. */
HK_INLINE void butterfly(hk_bin_t *b0, uint32_t span, complex_t a, complex_t b, complex_t c, complex_t d)
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

/* The packed pair n of the windowed samples. */
HK_INLINE complex_t windowed_pair(const int32_t *samples, const int32_t *window, uint32_t n)
{
    const complex_t z = {
        multiply_high(samples[2 * n], window[2 * n]),
        multiply_high(samples[2 * n + 1], window[2 * n + 1]),
    };
    return z;
}

/* Windows the samples, packs them in pairs and does the first stage; what lies beyond the window is zero. */
static void window_and_first_stage(const int32_t *samples, hk_bin_t *bins)
{
    const complex_t zero = {0, 0};
    const int32_t *s = samples;
    const int32_t *w = hk_window_q31;
    const uint8_t *place = hk_fft_places;
    for (; place < hk_fft_places + FOUR_INPUTS; place++, s += 2, w += 2) {
        butterfly(&bins[*place], 1, windowed_pair(s, w, 0), windowed_pair(s, w, QUARTER),
                  windowed_pair(s, w, 2 * QUARTER), windowed_pair(s, w, 3 * QUARTER));
    }
    for (; place < hk_fft_places + QUARTER; place++, s += 2, w += 2) {
        butterfly(&bins[*place], 1, windowed_pair(s, w, 0), windowed_pair(s, w, QUARTER),
                  windowed_pair(s, w, 2 * QUARTER), zero);
    }
}

/* A butterfly whose inputs are turned by the twiddles at w, two twiddles between them. */
HK_INLINE void turn_and_add(hk_bin_t *b, uint32_t span, const int32_t *w)
{
    const complex_t x1 = rotate(load(b + span), w);
    const complex_t x2 = rotate(load(b + 2 * span), w + 4);
    const complex_t x3 = rotate(load(b + 3 * span), w + 8);
    butterfly(b, span, quarter(b), x1, x2, x3);
}

/* One later stage: radix 4, decimation in time, in place. */
HK_INLINE void stage(hk_bin_t *bins, uint32_t span, const int32_t *twiddles)
{
    for (hk_bin_t *block = bins; block < bins + POINTS; block += 4 * span) {
        butterfly(block, span, quarter(block), quarter(block + span), quarter(block + 2 * span),
                  quarter(block + 3 * span));
        turn_and_add(block + 1, span, twiddles + 2);
        const int32_t *w = twiddles + 12;
        for (hk_bin_t *b = block + 2; b < block + span; b += 2, w += 12) {
            turn_and_add(b, span, w);
            turn_and_add(b + 1, span, w + 2);
        }
    }
}

HK_INLINE uint64_t power_of(int32_t re, int32_t im)
{
    return ((uint64_t)((int64_t)re * re) + (uint64_t)((int64_t)im * im)) >> HK_SPECTRUM_POWER_SHIFT;
}

/* Takes the spectrum of the real samples out of that of the packed pairs, and replaces it by its power. */
static void split_into_power(hk_bin_t *bins)
{
    /* Bin 0 is the sum of both; the bin at half the sample rate lies above the last band. */
    bins[0].power = power_of(bins[0].z.re + bins[0].z.im, 0);
    const int32_t *w = hk_split_twiddles_q30 + 2;
    hk_bin_t *high = bins + POINTS - 1;
    for (hk_bin_t *low = bins + 1; low <= high; low++, high--, w += 2) { /* in the middle both are one */
        /* Halved spectra of the even and of i times the odd samples. */
        const complex_t a = load(low);
        const complex_t b = load(high);
        const complex_t even = {(a.re >> 1) + (b.re >> 1), (a.im >> 1) - (b.im >> 1)};
        const complex_t odd = {(a.re >> 1) - (b.re >> 1), (a.im >> 1) + (b.im >> 1)};
        /* -i w odd; rotate() divides by 4, which the shift takes back: 2 lost bits of 30 do not matter here. */
        const complex_t turned = rotate(odd, w);
        const int32_t re = turned.im * 4;
        const int32_t im = -turned.re * 4;
        high->power = power_of(even.re - re, even.im - im);
        low->power = power_of(even.re + re, even.im + im);
    }
}

void hk_spectrum_compute(const int32_t samples[HK_WINDOW_SAMPLES], hk_bin_t bins[HK_SPECTRUM_BINS])
{
    window_and_first_stage(samples, bins);
    /* Each stage has 3 * span twiddles of two words, and code of its own, in which spans are constants. */
    stage(bins, 4, hk_fft_twiddles_q30);
    stage(bins, 16, hk_fft_twiddles_q30 + 6 * 4);
    stage(bins, 64, hk_fft_twiddles_q30 + 6 * (4 + 16));
    split_into_power(bins);
}

#endif
