#include "hk_adpcm.h"

#include "hk_error.h"

/* Step sizes and index changes of the IMA Digital Audio Focus group's recommendation, 1992. */
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

static const int8_t index_changes[8] = {-1, -1, -1, -1, 2, 4, 6, 8};

enum { SIGN = 8 };

/* What coder and decoder do alike: moves the prediction by a signed difference, and the step by the nibble. */
static inline void advance(hk_adpcm_t *state, int32_t difference, uint8_t nibble)
{
    const int32_t sample = state->predicted + difference;
    state->predicted = (int16_t)(sample < INT16_MIN ? INT16_MIN : sample > INT16_MAX ? INT16_MAX : sample);
    const int32_t index = state->step_index + index_changes[nibble & (SIGN - 1)];
    state->step_index = (uint8_t)(index < 0 ? 0 : index > HK_ADPCM_STEP_INDEX_MAX ? HK_ADPCM_STEP_INDEX_MAX : index);
}

int16_t hk_adpcm_decode(hk_adpcm_t *decoder, uint8_t nibble)
{
    const int32_t step = steps[decoder->step_index];
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
    advance(decoder, (nibble & SIGN) ? -difference : difference, nibble);
    return decoder->predicted;
}

uint8_t hk_adpcm_encode(hk_adpcm_t *coder, int16_t sample)
{
    const int32_t step = steps[coder->step_index];
    int32_t rest = sample - coder->predicted;
    uint8_t nibble = 0;
    if (rest < 0) {
        nibble = SIGN;
        rest = -rest;
    }
    /* The difference is summed up as the decoder will. */
    int32_t difference = step >> 3;
    if (rest >= step) {
        nibble |= 4;
        rest -= step;
        difference += step;
    }
    if (rest >= step >> 1) {
        nibble |= 2;
        rest -= step >> 1;
        difference += step >> 1;
    }
    if (rest >= step >> 2) {
        nibble |= 1;
        difference += step >> 2;
    }
    advance(coder, (nibble & SIGN) ? -difference : difference, nibble);
    return nibble;
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
    for (uint32_t n = 1; n < HK_CLIP_BLOCK_SAMPLES; n += 2) {
        const uint8_t low = hk_adpcm_encode(coder, pcm[n]);
        const uint8_t high = hk_adpcm_encode(coder, pcm[n + 1]);
        block[HK_ADPCM_HEADER_BYTES + n / 2] = (uint8_t)(low | (high << 4));
    }
}

int hk_adpcm_decode_block(const uint8_t block[HK_CLIP_BLOCK_BYTES], int16_t pcm[HK_CLIP_BLOCK_SAMPLES])
{
    if (block[2] > HK_ADPCM_STEP_INDEX_MAX || block[3] != 0) {
        return HK_ERROR_FORMAT;
    }
    hk_adpcm_t decoder = {
        .predicted = (int16_t)(uint16_t)(block[0] | (block[1] << 8)),
        .step_index = block[2],
    };
    pcm[0] = decoder.predicted;
    for (uint32_t n = 1; n < HK_CLIP_BLOCK_SAMPLES; n += 2) {
        const uint8_t byte = block[HK_ADPCM_HEADER_BYTES + n / 2];
        pcm[n] = hk_adpcm_decode(&decoder, byte & 0x0Fu);
        pcm[n + 1] = hk_adpcm_decode(&decoder, byte >> 4);
    }
    return HK_OK;
}
