#include "hk_clip_ring.h"

#include <string.h>

#include "hk_error.h"

_Static_assert((HK_CLIP_RING_BLOCKS - 1) * HK_CLIP_BLOCK_SAMPLES >= HK_CLIP_SAMPLES + HK_STEP_SAMPLES,
               "while one block is being overwritten, the others hold a clip and the step after it");

void hk_clip_ring_init(hk_clip_ring_t *ring)
{
    memset(ring, 0, sizeof *ring);
}

static void begin_block(hk_clip_ring_t *ring, int16_t sample)
{
    /* A length that the compiler writes out, by a name that it knows in a freestanding program too: small C libraries
     * go byte by byte. */
    enum { CLEARED_AT_ONCE = 28 };
    _Static_assert((HK_CLIP_BLOCK_BYTES - HK_ADPCM_HEADER_BYTES) % CLEARED_AT_ONCE == 0, "a block is cleared in whole");
    uint8_t *block = ring->blocks[ring->open_block];
    hk_adpcm_begin_block(&ring->coder, sample, block);
    for (uint32_t n = HK_ADPCM_HEADER_BYTES; n < HK_CLIP_BLOCK_BYTES; n += CLEARED_AT_ONCE) {
        __builtin_memset(block + n, 0, CLEARED_AT_ONCE);
    }
}

/* Codes samples into the rest of the open block, at least one and at most what it has room for. */
static void fill_block(hk_clip_ring_t *ring, const int16_t *pcm, uint32_t count)
{
    const uint32_t nibble_index = ring->open_samples - 1u;
    uint8_t *byte = ring->blocks[ring->open_block] + HK_ADPCM_HEADER_BYTES + nibble_index / 2;
    if (nibble_index % 2 == 1) {
        const uint8_t high = hk_adpcm_encode(&ring->coder, *pcm++);
        *byte = (uint8_t)(*byte | (high << 4));
        byte++;
        count--;
    }
    hk_adpcm_encode_pairs(&ring->coder, pcm, count / 2, byte);
    if (count % 2 == 1) {
        byte[count / 2] = hk_adpcm_encode(&ring->coder, pcm[count - 1]);
    }
}

void hk_clip_ring_push(hk_clip_ring_t *ring, const int16_t *pcm, size_t count)
{
    ring->samples_heard += count;
    while (count > 0) {
        uint32_t taken = 1;
        if (ring->open_samples == 0) {
            begin_block(ring, *pcm);
        } else {
            const uint32_t room = HK_CLIP_BLOCK_SAMPLES - (uint32_t)ring->open_samples;
            taken = count < room ? (uint32_t)count : room;
            fill_block(ring, pcm, taken);
        }
        pcm += taken;
        count -= taken;
        ring->open_samples = (uint16_t)(ring->open_samples + taken);
        if (ring->open_samples == HK_CLIP_BLOCK_SAMPLES) {
            ring->open_samples = 0;
            ring->open_block = (uint16_t)((ring->open_block + 1) % HK_CLIP_RING_BLOCKS);
        }
    }
}

int hk_clip_ring_cut(const hk_clip_ring_t *ring, uint64_t from, uint64_t to, uint8_t *data, size_t capacity,
                     hk_clip_cut_t *clip)
{
    if (from >= to) {
        return HK_ERROR_ARGUMENT;
    }
    /* Blocks are numbered from the first sample heard; the open one takes the place of the oldest. */
    const uint64_t open = ring->samples_heard / HK_CLIP_BLOCK_SAMPLES;
    const uint64_t oldest = open >= HK_CLIP_RING_BLOCKS - 1 ? open - (HK_CLIP_RING_BLOCKS - 1) : 0;
    const uint64_t end = to < ring->samples_heard ? to : ring->samples_heard;
    if (end <= from || end <= oldest * HK_CLIP_BLOCK_SAMPLES) {
        return HK_ERROR_NOT_FOUND;
    }
    const uint64_t wanted = from / HK_CLIP_BLOCK_SAMPLES;
    const uint64_t first = wanted > oldest ? wanted : oldest;
    const uint64_t last = (end - 1) / HK_CLIP_BLOCK_SAMPLES;
    const size_t count = (size_t)(last - first + 1);
    if (count * HK_CLIP_BLOCK_BYTES > capacity) {
        return HK_ERROR_CAPACITY;
    }
    size_t place = (size_t)(first % HK_CLIP_RING_BLOCKS);
    for (size_t n = 0; n < count; n++) {
        memcpy(data + n * HK_CLIP_BLOCK_BYTES, ring->blocks[place], HK_CLIP_BLOCK_BYTES);
        place = (place + 1) % HK_CLIP_RING_BLOCKS;
    }
    clip->first_sample = first * HK_CLIP_BLOCK_SAMPLES;
    clip->sample_count = (uint32_t)(end - clip->first_sample);
    clip->bytes = (uint32_t)(count * HK_CLIP_BLOCK_BYTES);
    return HK_OK;
}
