/* The power spectrum of one window: a 512-point FFT of real samples in 32-bit fixed point.
 *
 * Plain C for any core (hk_spectrum.c), vectors where the core has them (hk_spectrum_mve.c); both give the same bits,
 * because they round the same values in the same places. Pure function of its input, safe in an interrupt. */
#ifndef HK_SPECTRUM_H
#define HK_SPECTRUM_H

#include <stdint.h>

#include "hk_frontend_tables.h"

/* Word lengths. int16 enters the DC blocker in Q12: its output stays within twice its input, 2^28. The window halves
 * (Q31 by SMMUL): |z| <= sqrt(2) * 2^27. The first FFT stage grows by 4 to 2^29.5; each later stage divides its
 * inputs by 4 (Q30 twiddles by SMMUL), so that no sum leaves 32 bits, whatever the audio. A bin then holds 32 times the
 * DFT of the windowed int16 samples: white noise of one LSB stands 50 dB above the rounding. */
enum {
    HK_SPECTRUM_INPUT_FRACTION_BITS = 12,
    HK_SPECTRUM_POINTS = HK_FFT_SIZE / 2, /* two real samples are packed into one complex one */
    HK_SPECTRUM_STAGE_SHIFT = 2,
    HK_SPECTRUM_POWER_SHIFT = 8, /* |bin|^2 = 2^10 |DFT|^2 is kept as 4 |DFT|^2 */
};

/* A complex FFT bin that turns, in place, into its power. */
typedef union {
    struct {
        int32_t re;
        int32_t im;
    } z;
    uint64_t power;
    struct {
        uint32_t low;
        uint32_t high;
    } words; /* of the power */
} hk_bin_t;

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a power's lower word comes first");

_Static_assert(HK_SPECTRUM_POINTS == 256, "the radix-4 stages and the table of 8-bit places are made for 256 points");
_Static_assert(HK_WINDOW_SAMPLES % 2 == 0 && HK_WINDOW_SAMPLES <= HK_FFT_SIZE, "a window fills pairs of one transform");
_Static_assert(HK_SPECTRUM_BINS == HK_SPECTRUM_POINTS, "the bin at half the sample rate is left out");
_Static_assert(sizeof(hk_bin_t) == sizeof(uint64_t), "a bin turns into its power in place");

/* Windows `samples` (Q12, |sample| <= 2^28, oldest first), and writes the power of bins k * 31.25 Hz, 4 |DFT|^2. */
void hk_spectrum_compute(const int32_t samples[HK_WINDOW_SAMPLES], hk_bin_t bins[HK_SPECTRUM_BINS]);

#endif
