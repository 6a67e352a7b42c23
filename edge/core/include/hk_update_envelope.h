/* The signed envelope of an update, and what it carries. An update is data in one piece of memory, little-endian:
 *
 *   offset  size  what
 *        0     4  magic "HKUP"
 *        4     1  format, HK_UPDATE_FORMAT
 *        5     1  part of the device that it changes, HK_PART_…
 *        6     2  bytes of the payload, divisible by 4; 0: back to what the image brings
 *        8     4  version: counts up for each part, and for the heads of each event
 *       12     8  hash of the trunk that it is for (hk_trunk_hash)
 *       20    32  device id, the rest zero
 *       52    32  event whose head it is: 1 to 31 of [a-z0-9_], the rest zero; all zero for the other parts
 *       84     2  trial: seconds of audio until it is confirmed; 0: at once, for what needs no trial
 *       86     1  trial: most triggers a minute that are not absurd
 *       87     1  vectors of the self-test
 *       88     8  zero
 *       96    32  SHA-256 of the payload
 *      128    32  HMAC-SHA256 of the 128 bytes before, with the device's key
 *      160     -  the payload
 *
 * Payloads:
 *   HK_PART_HEAD        the head's blob (hk_head.h), then the self-test: for each vector an output of the trunk (int8), then
 *                       for each the score that the head gives it (u8), filled up with zeros to a multiple of 4.
 *   HK_PART_THRESHOLDS  for each event 36 bytes: its name, the rest zero (32); thresholds for low, normal and high
 *                       sensitivity (low >= normal >= high >= 1); zero.
 *   HK_PART_SETTINGS    for each event 48 bytes: its name, the rest zero (32); u32 repeat_ms; u16 min_duration_ms,
 *                       max_gap_ms, refractory_ms; u8 release_percent, smoothing_shift; 4 bytes zero. Then may follow, with
 *                       no name, 48 bytes of what alarms must show: 32 bytes zero; u16 lone_duration_ms, persistent_ms;
 *                       u8 proven_percent; u8 sure_scores for low, normal, high; 8 bytes zero. hk_tracker.h says what they are.
 *   HK_PART_MEDIA       the seal of the set of known media that may be used (hk_media_set.h).
 *
 * The signature covers the device's id, so that no other device takes the update, and by the hash the payload too. */
#ifndef HK_UPDATE_ENVELOPE_H
#define HK_UPDATE_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>

#include "hk_head.h"
#include "hk_limits.h"

#define HK_UPDATE_FORMAT 1u
#define HK_UPDATE_ENVELOPE_BYTES 160u
#define HK_UPDATE_TAG_AT 128u /* the signature, whose first bytes name the update */

/* An opened update: views into its bytes, which must outlive it and stay unchanged. */
typedef struct {
    const uint8_t *bytes;
    const uint8_t *payload;
    const char *event; /* zero-terminated */
    uint32_t version;
    uint16_t payload_bytes;
    uint16_t trial_seconds;
    uint8_t trial_triggers; /* a minute */
    uint8_t vectors;
    uint8_t part;
} hk_update_envelope_t;

/* Reads any `n` bytes and checks their form. HK_ERROR_TRUNCATED, HK_ERROR_VERSION, HK_ERROR_FORMAT. On failure `envelope`
 * is left unchanged. */
int hk_update_envelope_open(hk_update_envelope_t *envelope, const uint8_t *bytes, size_t n);

/* Whether who has the device's key meant these very bytes for this device and its trunk.
 * HK_ERROR_SIGNATURE, HK_ERROR_CRC (the payload), HK_ERROR_OTHER_DEVICE, HK_ERROR_MISMATCH (the trunk). */
int hk_update_envelope_verify(const hk_update_envelope_t *envelope, const uint8_t key[HK_UPDATE_KEY_BYTES],
                              const char *device_id, const uint8_t trunk_hash[HK_MODEL_HASH_BYTES]);

/* Whether it is for a trunk. 0 or HK_ERROR_MISMATCH. */
int hk_update_envelope_check_trunk(const hk_update_envelope_t *envelope, const uint8_t trunk_hash[HK_MODEL_HASH_BYTES]);

/* The blob of a head at the beginning of a payload: its bytes, 0 where there is none. */
size_t hk_update_envelope_blob_bytes(const hk_update_envelope_t *envelope);

/* Writes an envelope without a signature, for a head that came by cable, with what `payload_bytes` came in all. */
void hk_update_envelope_write_unsigned(uint8_t out[HK_UPDATE_ENVELOPE_BYTES], const hk_head_t *head,
                                       uint16_t payload_bytes, uint8_t vectors);

#endif
