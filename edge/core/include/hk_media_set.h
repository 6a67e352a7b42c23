/* A device's own set of known media: short stretches of recordings, as fingerprint words in flash.
 *
 * The blob, all numbers little-endian:
 *
 *    0  "HKMS"
 *    4  u16  format, HK_MEDIA_SET_FORMAT
 *    6  u8   clips, 0 .. HK_MEDIA_CLIPS_MAX
 *    7  u8   phases, 1 or 2
 *    8  u32  version: a newer set has a greater one
 *   12  u32  bytes of the whole blob
 *   16  u8[32] seal: SHA-256 of bytes 0 to 15 and of all from 48 on. The place of a signature
 *   48  for each clip: u8[8] media id, u16 its first word's place among the words, u16 words of each phase
 *    …  u32  words: of each clip those of phase 0, then as many of phase 1
 *
 * Of a clip every fourth step's word is kept (80 ms), from its first step on, and the word 20 ms later as phase 1:
 * whichever of its 40 ms a device's word falls on, one of the two lies within 10 ms. No masks: those of the device's
 * words say which bits count.
 *
 * An opened set points into the blob, which must stay as it is. Not for use from an interrupt. */
#ifndef HK_MEDIA_SET_H
#define HK_MEDIA_SET_H

#include <stddef.h>
#include <stdint.h>

#include "hk_fingerprint.h"
#include "hk_limits.h"

#define HK_MEDIA_SET_FORMAT 1u
#define HK_MEDIA_SET_SEAL_AT 16u
#define HK_MEDIA_SET_SEAL_BYTES 32u
#define HK_MEDIA_SET_STRIDE 2u /* words of a device from word to word of a clip */

typedef struct {
    const uint8_t *blob; /* NULL: there is no set */
    const uint8_t *clips;
    const uint32_t *words;
    uint32_t version;
    uint8_t clip_count;
    uint8_t phases;
} hk_media_set_t;

/* Checks a blob and opens it. `blob` is aligned to 4.
 * Returns 0; HK_ERROR_ARGUMENT where it is not; HK_ERROR_TRUNCATED, HK_ERROR_TOO_LARGE; HK_ERROR_FORMAT for bytes that are
 * no set; HK_ERROR_VERSION for another format; HK_ERROR_CRC where the seal does not fit. */
int hk_media_set_open(hk_media_set_t *set, const uint8_t *blob, size_t n);

/* Where a sound fits a set best. */
typedef struct {
    uint8_t clip;
    uint8_t phase;
    hk_fingerprint_match_t match; /* as of hk_fingerprint_match: offset in words of the device */
} hk_media_hit_t;

/* Looks for a device's latest words (at most HK_TRIGGER_FINGERPRINT_WORDS, masks given) in all clips. A clip matches by
 * the very rule of the cloud for known media: z of the reliable bits over the clip at its best place is at least
 * HK_MEDIA_MIN_Z, over at least HK_MEDIA_MIN_WORDS words that have any. To find that place it goes from coarse to fine:
 * a quarter of a clip's words at each place, half of them where those agree, all of both phases around the best place.
 * Returns 0 and the hit with the highest z, or HK_ERROR_NOT_FOUND, or HK_ERROR_ARGUMENT. About 0.6 million instructions
 * on a Cortex-M4 and 700 bytes of stack. */
int hk_media_set_find(const hk_media_set_t *set, const hk_fingerprint_query_t *query, hk_media_hit_t *hit);

/* The media id of a clip, 8 bytes. */
const uint8_t *hk_media_set_id(const hk_media_set_t *set, uint8_t clip);

/* z of a match, in sixteenths, rounded down. */
uint16_t hk_media_z_q4(const hk_fingerprint_match_t *match);

#endif
