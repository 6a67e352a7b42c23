/* From PCM to log-mel frames: 25 ms Hann windows every 10 ms, a 512-point FFT in 32-bit fixed point, 40 mel bands.
 *
 * The caller owns the state. Nothing is allocated, nothing is floating point, and the same PCM gives the same bytes
 * on every machine. One state belongs to one stream; calls on it must not overlap (an interrupt may call it if nothing
 * else does). */
#ifndef HK_FRONTEND_H
#define HK_FRONTEND_H

#include <stdint.h>

#include "hk_frontend_tables.h"
#include "hk_spectrum.h"

typedef struct {
    int32_t history[HK_WINDOW_SAMPLES]; /* the last window after the DC blocker, Q12 of an int16 step, oldest first */
    int32_t dc_output;                  /* the DC blocker's last output, Q12 */
    int16_t dc_input;                   /* the DC blocker's last input */
    hk_bin_t bins[HK_SPECTRUM_BINS];    /* after a push: the power spectrum of that frame */
    uint64_t total_power;               /* and the sum of its bins */
} hk_frontend_t;

/* One frame. log_mel_q8: log2 of a band's energy in (int16 steps)^2 of the windowed DFT, Q8, 0 .. 12800; what is below
 * log2 = 0 counts as 0. */
typedef struct {
    int16_t log_mel_q8[HK_MEL_BANDS];
} hk_frame_t;

/* Starts a stream: what came before it counts as zeros. */
void hk_frontend_init(hk_frontend_t *frontend);

/* Hears one hop (10 ms) and writes one frame, always. The frame's window ends with the hop's last sample. */
void hk_frontend_push(hk_frontend_t *frontend, const int16_t pcm[HK_HOP_SAMPLES], hk_frame_t *frame);

/* Power of bin k (k * 31.25 Hz) of the last frame, 4 * |DFT|^2; 0 before the first push. Valid until the next push. */
static inline uint64_t hk_frontend_power(const hk_frontend_t *frontend, uint32_t bin)
{
    return frontend->bins[bin].power;
}

/* The model's input: saturate(round(8 * log2 energy) - HK_FEATURE_OFFSET). */
void hk_frame_features(const hk_frame_t *frame, int8_t features[HK_MEL_BANDS]);

#endif
