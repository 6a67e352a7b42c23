/* IMA ADPCM, four bits a sample, in the blocks that WAV files use (format 0x11, mono), so that any player decodes them.
 *
 * A block is 256 bytes: the first sample as int16 little-endian, the step index, a zero, then 504 samples as nibbles,
 * the low one first. Each block decodes by itself. The caller owns all memory; safe in an interrupt. */
#ifndef HK_ADPCM_H
#define HK_ADPCM_H

#include <stddef.h>
#include <stdint.h>

#include "hk_limits.h"

#define HK_ADPCM_HEADER_BYTES 4
#define HK_ADPCM_STEP_INDEX_MAX 88

_Static_assert(HK_CLIP_BLOCK_SAMPLES == 1 + 2 * (HK_CLIP_BLOCK_BYTES - HK_ADPCM_HEADER_BYTES),
               "a block holds one sample in its header and two in each byte that follows");

/* What coder and decoder keep in step with each other. */
typedef struct {
    int16_t predicted;  /* the decoder's last output */
    uint8_t step_index; /* 0 .. HK_ADPCM_STEP_INDEX_MAX */
} hk_adpcm_t;

/* Begins a block with `sample`, which is kept exactly, and writes the block's header. Start a stream from {0}; between
 * blocks the step index carries over. */
void hk_adpcm_begin_block(hk_adpcm_t *coder, int16_t sample, uint8_t header[HK_ADPCM_HEADER_BYTES]);

/* Codes the next sample of a block: 0 .. 15. */
uint8_t hk_adpcm_encode(hk_adpcm_t *coder, int16_t sample);

/* Codes 2 * `pairs` samples into `pairs` bytes, the first sample of each byte in its low nibble. */
void hk_adpcm_encode_pairs(hk_adpcm_t *coder, const int16_t *pcm, size_t pairs, uint8_t *bytes);

/* The sample that a nibble (0 .. 15) stands for. */
int16_t hk_adpcm_decode(hk_adpcm_t *decoder, uint8_t nibble);

/* Codes one whole block. */
void hk_adpcm_encode_block(hk_adpcm_t *coder, const int16_t pcm[HK_CLIP_BLOCK_SAMPLES],
                           uint8_t block[HK_CLIP_BLOCK_BYTES]);

/* Decodes one whole block. Returns 0, or HK_ERROR_FORMAT (and writes nothing) where the header cannot be one. */
int hk_adpcm_decode_block(const uint8_t block[HK_CLIP_BLOCK_BYTES], int16_t pcm[HK_CLIP_BLOCK_SAMPLES]);

#endif
