/* The last four seconds heard, as IMA ADPCM blocks, and clips cut out of them.
 *
 * The caller owns the ring (about 33 KB). Time is counted in samples heard since hk_clip_ring_init. Pushing and
 * cutting must not overlap. */
#ifndef HK_CLIP_RING_H
#define HK_CLIP_RING_H

#include <stddef.h>
#include <stdint.h>

#include "hk_adpcm.h"
#include "hk_frontend_tables.h"
#include "hk_limits.h"

#define HK_CLIP_SAMPLES (HK_CLIP_SECONDS * HK_SAMPLE_RATE_HZ)

/* Blocks that a clip of HK_CLIP_SAMPLES touches at most: it may begin and end inside a block. */
#define HK_CLIP_BLOCKS ((HK_CLIP_SAMPLES + HK_CLIP_BLOCK_SAMPLES - 2) / HK_CLIP_BLOCK_SAMPLES + 1)

/* Bytes of the largest clip: what a caller's buffer must hold. */
#define HK_CLIP_DATA_BYTES (HK_CLIP_BLOCKS * HK_CLIP_BLOCK_BYTES)

/* One more than a clip needs, so that up to 505 samples may come in between its end and its cutting. */
#define HK_CLIP_RING_BLOCKS (HK_CLIP_BLOCKS + 1)

_Static_assert(HK_CLIP_SECONDS == HK_CLIP_BEFORE_TRIGGER_SECONDS + HK_CLIP_AFTER_TRIGGER_SECONDS,
               "a clip is what lies before and after its trigger");
_Static_assert(HK_CLIP_DATA_BYTES < HK_CLIP_MAX_BYTES, "a clip and its envelope fit one message");
_Static_assert(HK_STEP_SAMPLES <= HK_CLIP_BLOCK_SAMPLES, "a clip is cut at the end of a step, at most one step late");

typedef struct {
    uint64_t samples_heard;
    hk_adpcm_t coder;
    uint16_t open_block;   /* where the block that is being written lies, 0 .. HK_CLIP_RING_BLOCKS - 1 */
    uint16_t open_samples; /* samples it holds, 0 .. HK_CLIP_BLOCK_SAMPLES - 1 */
    uint8_t blocks[HK_CLIP_RING_BLOCKS][HK_CLIP_BLOCK_BYTES];
} hk_clip_ring_t;

/* A clip that was cut: whole blocks, of which the last may not be full. */
typedef struct {
    uint64_t first_sample; /* of the first block: at or up to 504 samples before what was asked for, or the oldest kept */
    uint32_t sample_count; /* heard samples from there on; those that the last block decodes to beyond it mean nothing */
    uint32_t bytes;        /* written: a multiple of HK_CLIP_BLOCK_BYTES */
} hk_clip_cut_t;

/* Starts with nothing heard. */
void hk_clip_ring_init(hk_clip_ring_t *ring);

/* Hears `count` samples. */
void hk_clip_ring_push(hk_clip_ring_t *ring, const int16_t *pcm, size_t count);

/* Copies the blocks that hold the samples [from, to) into `data` and describes them in `clip`. What lies outside the
 * ring's memory, in the past or in the future, is left out.
 * Returns 0; HK_ERROR_ARGUMENT where from >= to; HK_ERROR_NOT_FOUND where none of it is held; HK_ERROR_CAPACITY where
 * `data` is too small (HK_CLIP_DATA_BYTES is enough for HK_CLIP_SAMPLES). On an error nothing is written. */
int hk_clip_ring_cut(const hk_clip_ring_t *ring, uint64_t from, uint64_t to, uint8_t *data, size_t capacity,
                     hk_clip_cut_t *clip);

#endif
