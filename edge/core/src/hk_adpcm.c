#include "hk_adpcm.h"

#include "hk_error.h"
#include "hk_fixed_point.h"

/* Step sizes, and below how they follow each other, of the IMA Digital Audio Focus group's recommendation, 1992. */
static const int16_t steps[HK_ADPCM_STEP_INDEX_MAX + 1] = {
        7,     8,     9,    10,    11,    12,    13,    14,    16,    17,    19,    21,
       23,    25,    28,    31,    34,    37,    41,    45,    50,    55,    60,    66,
       73,    80,    88,    97,   107,   118,   130,   143,   157,   173,   190,   209,
      230,   253,   279,   307,   337,   371,   408,   449,   494,   544,   598,   658,
      724,   796,   876,   963,  1060,  1166,  1282,  1411,  1552,  1707,  1878,  2066,
     2272,  2499,  2749,  3024,  3327,  3660,  4026,  4428,  4871,  5358,  5894,  6484,
     7132,  7845,  8630,  9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350,
    22385, 24623, 27086, 29794, 32767,
};

/* What follows a step index and a nibble without its sign. */
#define FALL(i) ((i) > 0 ? (i) - 1 : 0)
#define RISE(i, by) ((i) + (by) < HK_ADPCM_STEP_INDEX_MAX ? (i) + (by) : HK_ADPCM_STEP_INDEX_MAX)
#define ROW(i) {FALL(i), FALL(i), FALL(i), FALL(i), RISE(i, 2), RISE(i, 4), RISE(i, 6), RISE(i, 8)}
#define ROWS(i) ROW(i), ROW(i + 1), ROW(i + 2), ROW(i + 3), ROW(i + 4), ROW(i + 5), ROW(i + 6), ROW(i + 7)
static const uint8_t next_indices[HK_ADPCM_STEP_INDEX_MAX + 1][8] = {
    ROWS(0),  ROWS(8),  ROWS(16), ROWS(24), ROWS(32), ROWS(40),
    ROWS(48), ROWS(56), ROWS(64), ROWS(72), ROWS(80), ROW(88),
};

enum { SIGN = 8, MAGNITUDE = 7 };

/* Coder and decoder while they run: hk_adpcm_t in registers. */
typedef struct {
    int32_t predicted;
    uint32_t step_index;
} state_t;

static inline state_t begin(const hk_adpcm_t *kept)
{
    const state_t state = {kept->predicted, kept->step_index};
    return state;
}

static inline void keep(hk_adpcm_t *kept, state_t state)
{
    kept->predicted = (int16_t)state.predicted;
    kept->step_index = (uint8_t)state.step_index;
}

static inline int16_t decode(state_t *state, uint32_t nibble)
{
    const int32_t step = steps[state->step_index];
    /* (magnitude + 1/2) * step / 4, with every part cut off by itself: all IMA decoders do it so. */
    int32_t difference = step >> 3;
    if (nibble & 4) {
        difference += step;
    }
    if (nibble & 2) {
        difference += step >> 1;
    }
    if (nibble & 1) {
        difference += step >> 2;
    }
    state->predicted = hk_saturate_16(state->predicted + ((nibble & SIGN) ? -difference : difference));
    state->step_index = next_indices[state->step_index][nibble & MAGNITUDE];
    return (int16_t)state->predicted;
}

/* How often a step, half and a quarter of it fit into *rest, once each, largest first: bits 2, 1 and 0, below those of
 * `bits`. What fits is taken off. */
static inline uint32_t take_steps(uint32_t bits, int32_t *rest, int32_t step)
{
#if defined(__thumb2__)
    int32_t left;
    __asm__("subs %[left], %[rest], %[step]\n\t" /* carry: it fits */
            "it cs\n\t"
            "movcs %[rest], %[left]\n\t"
            "adc %[bits], %[bits], %[bits]\n\t"
            "subs %[left], %[rest], %[step], asr #1\n\t"
            "it cs\n\t"
            "movcs %[rest], %[left]\n\t"
            "adc %[bits], %[bits], %[bits]\n\t"
            "subs %[left], %[rest], %[step], asr #2\n\t"
            "it cs\n\t"
            "movcs %[rest], %[left]\n\t"
            "adc %[bits], %[bits], %[bits]"
            : [bits] "+r"(bits), [rest] "+r"(*rest), [left] "=&r"(left)
            : [step] "r"(step)
            : "cc");
#else
    bits <<= 3;
    if (*rest >= step) {
        *rest -= step;
        bits |= 4;
    }
    if (*rest >= step >> 1) {
        *rest -= step >> 1;
        bits |= 2;
    }
    if (*rest >= step >> 2) {
        *rest -= step >> 2;
        bits |= 1;
    }
#endif
    return bits;
}

static inline uint32_t encode(state_t *state, int32_t sample)
{
    const int32_t step = steps[state->step_index];
    const int32_t difference = sample - state->predicted;
    const int32_t sign = (difference >> 31) | 1; /* 1 or -1 */
    int32_t rest = difference * sign;
    const uint32_t nibble = take_steps((uint32_t)difference >> 31, &rest, step);
    /* The decoder will come to the prediction plus what was taken off, plus step / 8: the sample less the rest. */
    state->predicted = hk_saturate_16(sample + ((step >> 3) - rest) * sign);
    state->step_index = next_indices[state->step_index][nibble & MAGNITUDE];
    return nibble;
}

int16_t hk_adpcm_decode(hk_adpcm_t *decoder, uint8_t nibble)
{
    state_t state = begin(decoder);
    const int16_t sample = decode(&state, nibble);
    keep(decoder, state);
    return sample;
}

uint8_t hk_adpcm_encode(hk_adpcm_t *coder, int16_t sample)
{
    state_t state = begin(coder);
    const uint32_t nibble = encode(&state, sample);
    keep(coder, state);
    return (uint8_t)nibble;
}

void hk_adpcm_encode_pairs(hk_adpcm_t *coder, const int16_t *pcm, size_t pairs, uint8_t *bytes)
{
    state_t state = begin(coder);
    for (const uint8_t *end = bytes + pairs; bytes < end; pcm += 2) {
        const uint32_t low = encode(&state, pcm[0]);
        const uint32_t high = encode(&state, pcm[1]);
        *bytes++ = (uint8_t)(low | (high << 4));
    }
    keep(coder, state);
}

void hk_adpcm_begin_block(hk_adpcm_t *coder, int16_t sample, uint8_t header[HK_ADPCM_HEADER_BYTES])
{
    coder->predicted = sample;
    header[0] = (uint8_t)((uint16_t)sample & 0xFFu);
    header[1] = (uint8_t)((uint16_t)sample >> 8);
    header[2] = coder->step_index;
    header[3] = 0;
}

void hk_adpcm_encode_block(hk_adpcm_t *coder, const int16_t pcm[HK_CLIP_BLOCK_SAMPLES],
                           uint8_t block[HK_CLIP_BLOCK_BYTES])
{
    hk_adpcm_begin_block(coder, pcm[0], block);
    hk_adpcm_encode_pairs(coder, pcm + 1, HK_CLIP_BLOCK_SAMPLES / 2, block + HK_ADPCM_HEADER_BYTES);
}

int hk_adpcm_decode_block(const uint8_t block[HK_CLIP_BLOCK_BYTES], int16_t pcm[HK_CLIP_BLOCK_SAMPLES])
{
    if (block[2] > HK_ADPCM_STEP_INDEX_MAX || block[3] != 0) {
        return HK_ERROR_FORMAT;
    }
    pcm[0] = (int16_t)(uint16_t)(block[0] | (block[1] << 8));
    state_t state = {.predicted = pcm[0], .step_index = block[2]};
    for (uint32_t n = 1; n < HK_CLIP_BLOCK_SAMPLES; n += 2) {
        const uint8_t byte = block[HK_ADPCM_HEADER_BYTES + n / 2];
        pcm[n] = decode(&state, byte & 0x0Fu);
        pcm[n + 1] = decode(&state, byte >> 4);
    }
    return HK_OK;
}
