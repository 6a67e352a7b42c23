/* The spectrum on the vector extension of Armv8.1-M: two complex numbers to a vector, the values of hk_spectrum.c.
 *
 * VQDMLSDH and VQDMLADHX take a complex product's sum of two 64-bit products, doubled, and keep its upper half: one bit
 * more than rotate() of plain C keeps, and a shift drops it, so that both round alike. */
#include "hk_spectrum.h"

#include "hk_fixed_point.h"

#if HK_HAS_MVE

enum {
    POINTS = HK_SPECTRUM_POINTS,
    QUARTER = POINTS / 4,
    FOUR_INPUTS = HK_WINDOW_SAMPLES / 2 - 3 * QUARTER, /* butterflies of the first stage that have four */
    NEXT_PLACE_BYTES = POINTS / 4 * sizeof(hk_bin_t),  /* between the results of an even butterfly and the next */
};

_Static_assert(FOUR_INPUTS >= 0 && FOUR_INPUTS % 2 == 0 && HK_WINDOW_SAMPLES < HK_FFT_SIZE,
               "the window ends in the last quarter of the transform, between two vectors");

#define HK_INLINE static inline __attribute__((always_inline))

/* Stops the compiler from addressing through another pointer's distance, which costs additions. */
#define HK_KEEP_APART(pointer) __asm__("" : "+r"(pointer))

HK_INLINE int32x4_t load(const hk_bin_t *bins)
{
    return vldrwq_s32(&bins->z.re);
}

HK_INLINE void store(hk_bin_t *bins, int32x4_t z)
{
    vstrwq_s32(&bins->z.re, z);
}

/* z * w / 2 for Q30 twiddles w. */
HK_INLINE int32x4_t rotate_half(int32x4_t z, int32x4_t w)
{
    int32x4_t product;
    __asm__ volatile("" : "=w"(product)); /* any free register: each instruction writes half of it */
    product = vqdmlsdhq_s32(product, z, w);
    return vqdmladhxq_s32(product, z, w);
}

/* z * w / 4. */
HK_INLINE int32x4_t rotate(int32x4_t z, int32x4_t w)
{
    return vshrq_n_s32(rotate_half(z, w), 1);
}

/* The packed pairs n and n + 1 of the windowed samples. */
HK_INLINE int32x4_t windowed_pairs(const int32_t *samples, const int32_t *window, uint32_t n)
{
    return vmulhq_s32(vldrwq_s32(samples + 2 * n), vldrwq_s32(window + 2 * n));
}

/* Writes one output of each of two butterflies of the first stage. */
HK_INLINE void scatter(hk_bin_t *bins, uint64x2_t places, int32x4_t z)
{
    vstrdq_scatter_offset_s64((int64_t *)(void *)bins, places, vreinterpretq_s64_s32(z));
}

/* Windows the samples, packs them in pairs and does the first stage; what lies beyond the window is zero. */
static void window_and_first_stage(const int32_t *samples, hk_bin_t *bins)
{
    const uint64x2_t places = {0, NEXT_PLACE_BYTES};
    for (uint32_t n = 0; n < QUARTER; n += 2) {
        const int32_t *s = samples + 2 * n;
        const int32_t *w = hk_window_q31 + 2 * n;
        hk_bin_t *b = bins + hk_fft_places[n];
        const int32x4_t x0 = windowed_pairs(s, w, 0);
        const int32x4_t x1 = windowed_pairs(s, w, QUARTER);
        const int32x4_t x2 = windowed_pairs(s, w, 2 * QUARTER);
        const int32x4_t even = vaddq_s32(x0, x2);
        const int32x4_t even_difference = vsubq_s32(x0, x2);
        int32x4_t odd = x1;
        int32x4_t odd_difference = x1;
        if (n < FOUR_INPUTS) {
            const int32x4_t x3 = windowed_pairs(s, w, 3 * QUARTER);
            odd = vaddq_s32(x1, x3);
            odd_difference = vsubq_s32(x1, x3);
        }
        scatter(b, places, vaddq_s32(even, odd));
        scatter(b + 1, places, vcaddq_rot270_s32(even_difference, odd_difference)); /* times -i */
        scatter(b + 2, places, vsubq_s32(even, odd));
        scatter(b + 3, places, vcaddq_rot90_s32(even_difference, odd_difference));
    }
}

/* One later stage: radix 4, decimation in time, in place. Every pair of twiddles is loaded once. */
HK_INLINE void stage(hk_bin_t *bins, uint32_t span, const int32_t *twiddles)
{
    for (uint32_t j = 0; j < span; j += 2, twiddles += 12) {
        const int32x4_t w1 = vldrwq_s32(twiddles);
        const int32x4_t w2 = vldrwq_s32(twiddles + 4);
        const int32x4_t w3 = vldrwq_s32(twiddles + 8);
        hk_bin_t *b = bins + j;
        for (uint32_t left = POINTS / (4 * span); left != 0; left--, b += 4 * span) {
            const int32x4_t x0 = vshrq_n_s32(load(b), HK_SPECTRUM_STAGE_SHIFT);
            const int32x4_t x2 = rotate(load(b + 2 * span), w2);
            const int32x4_t even = vaddq_s32(x0, x2);
            const int32x4_t even_difference = vsubq_s32(x0, x2);
            const int32x4_t x1 = rotate(load(b + span), w1);
            const int32x4_t x3 = rotate(load(b + 3 * span), w3);
            const int32x4_t odd = vaddq_s32(x1, x3);
            const int32x4_t odd_difference = vsubq_s32(x1, x3);
            store(b, vaddq_s32(even, odd));
            store(b + span, vcaddq_rot270_s32(even_difference, odd_difference)); /* times -i */
            store(b + 2 * span, vsubq_s32(even, odd));
            store(b + 3 * span, vcaddq_rot90_s32(even_difference, odd_difference));
        }
    }
}

/* |z|^2 of two bins, each a 64-bit lane. Both squares are positive: no carry leaves the lower lane's 64 bits. */
HK_INLINE uint64x2_t power_of(int32x4_t z, uint32x4_t carry_down)
{
    unsigned carry;
    const int32x4_t re = vreinterpretq_s32_s64(vmullbq_int_s32(z, z));
    const int32x4_t im = vreinterpretq_s32_s64(vmulltq_int_s32(z, z));
    const uint32x4_t sum = vreinterpretq_u32_s32(vadciq_s32(re, im, &carry));
    /* Shift right: each word by itself, then the upper word's low bits into the lower word. */
    const uint32x4_t shifted = vshrq_n_u32(sum, HK_SPECTRUM_POWER_SHIFT);
    const uint32x4_t carried = vmulq_u32(vrev64q_u32(sum), carry_down);
    return vreinterpretq_u64_u32(vorrq_u32(shifted, carried));
}

/* Takes the spectrum of the real samples out of that of the packed pairs, and replaces it by its power. */
static void split_into_power(hk_bin_t *bins)
{
    const uint64x2_t reversed = {sizeof(hk_bin_t), 0};
    /* Constants rather than predicates: GCC 12 spoils predicates that it knows. */
    const int32x4_t conjugate = {1, -1, 1, -1};
    const uint32_t top = UINT32_C(1) << (32 - HK_SPECTRUM_POWER_SHIFT);
    const uint32x4_t carry_down = {top, 0, top, 0};
    /* Bin 0 is the sum of both; the bin at half the sample rate lies above the last band. */
    const int32_t constant = bins[0].z.re + bins[0].z.im;
    bins[0].power = (uint64_t)((int64_t)constant * constant) >> HK_SPECTRUM_POWER_SHIFT;
    const int32_t *w = hk_split_twiddles_q30 + 2;
    hk_bin_t *low = bins + 1;
    hk_bin_t *high = bins + POINTS - 2;
    HK_KEEP_APART(low);
    /* In the last round the bin in the middle is in both: what `low` says of it stays. */
    for (uint32_t left = POINTS / 4; left != 0; left--, low += 2, high -= 2, w += 4) {
        const int32x4_t a = vshrq_n_s32(load(low), 1);
        const int32x4_t mirrored =
            vreinterpretq_s32_s64(vldrdq_gather_offset_s64((int64_t const *)(void *)high, reversed));
        const int32x4_t b = vmulq_s32(vshrq_n_s32(mirrored, 1), conjugate);
        /* Halved spectra of the even and of i times the odd samples. */
        const int32x4_t even = vaddq_s32(a, b);
        const int32x4_t odd = vsubq_s32(a, b);
        const int32x4_t turned = vshlq_n_s32(rotate(odd, vldrwq_s32(w)), 2);
        const uint64x2_t of_high = power_of(vcaddq_rot90_s32(even, turned), carry_down);
        vstrdq_scatter_offset_u64(&high->power, reversed, of_high);
        const uint64x2_t of_low = power_of(vcaddq_rot270_s32(even, turned), carry_down);
        store(low, vreinterpretq_s32_u64(of_low));
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
