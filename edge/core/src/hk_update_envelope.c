#include "hk_update_envelope.h"

#include <stdbool.h>
#include <string.h>

#include "hk_error.h"
#include "hk_hmac_sha256.h"
#include "hk_wire_values.h"

enum {
    FORMAT_AT = 4,
    PART_AT = 5,
    PAYLOAD_BYTES_AT = 6,
    VERSION_AT = 8,
    TRUNK_AT = 12,
    DEVICE_AT = 20,
    DEVICE_BYTES = 32,
    EVENT_AT = 52,
    TRIAL_SECONDS_AT = 84,
    TRIAL_TRIGGERS_AT = 86,
    VECTORS_AT = 87,
    ZERO_AT = 88,
    ZERO_BYTES = 8,
    PAYLOAD_HASH_AT = 96,
    BLOB_LENGTH_AT = 6, /* in a head's blob */
};

_Static_assert(HK_DEVICE_ID_MAX_CHARS == DEVICE_BYTES && DEVICE_AT + DEVICE_BYTES == EVENT_AT, "the id has its room");
_Static_assert(EVENT_AT + HK_HEAD_NAME_BYTES == TRIAL_SECONDS_AT, "the event has its room");
_Static_assert(PAYLOAD_HASH_AT + HK_SHA256_BYTES == HK_UPDATE_TAG_AT, "what is signed ends in the payload's hash");
_Static_assert(HK_UPDATE_TAG_AT + HK_SHA256_BYTES == HK_UPDATE_ENVELOPE_BYTES, "the signature comes last");
_Static_assert(HK_UPDATE_ENVELOPE_BYTES % 4 == 0, "a head is read in place");
_Static_assert(HK_UPDATE_MAX_BYTES <= UINT16_MAX, "lengths have 16 bits");

static uint32_t load_u16(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static bool is_zero(const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (at[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Up to 31 characters of [a-z0-9_], then zeros to the end of the field. */
static bool is_name_or_nothing(const uint8_t *at)
{
    size_t length = 0;
    while (length < HK_HEAD_NAME_BYTES && ((at[length] >= 'a' && at[length] <= 'z')
                                           || (at[length] >= '0' && at[length] <= '9') || at[length] == '_')) {
        length++;
    }
    return length < HK_HEAD_NAME_BYTES && is_zero(at + length, HK_HEAD_NAME_BYTES - length);
}

int hk_update_envelope_open(hk_update_envelope_t *envelope, const uint8_t *bytes, size_t n)
{
    if (n < HK_UPDATE_ENVELOPE_BYTES) {
        return HK_ERROR_TRUNCATED;
    }
    if (memcmp(bytes, "HKUP", 4) != 0) {
        return HK_ERROR_FORMAT;
    }
    if (bytes[FORMAT_AT] != HK_UPDATE_FORMAT) {
        return HK_ERROR_VERSION;
    }
    const uint32_t payload_bytes = load_u16(bytes + PAYLOAD_BYTES_AT);
    const bool is_of_an_event = bytes[PART_AT] == HK_PART_HEAD;
    if (payload_bytes != n - HK_UPDATE_ENVELOPE_BYTES || payload_bytes % 4 != 0 || bytes[PART_AT] > HK_PART_MEDIA
        || !is_name_or_nothing(bytes + EVENT_AT) || is_of_an_event != (bytes[EVENT_AT] != 0)
        || !is_zero(bytes + ZERO_AT, ZERO_BYTES)) {
        return HK_ERROR_FORMAT;
    }
    *envelope = (hk_update_envelope_t){
        .bytes = bytes,
        .payload = bytes + HK_UPDATE_ENVELOPE_BYTES,
        .event = (const char *)bytes + EVENT_AT,
        .version = load_u16(bytes + VERSION_AT) | load_u16(bytes + VERSION_AT + 2) << 16,
        .payload_bytes = (uint16_t)payload_bytes,
        .trial_seconds = (uint16_t)load_u16(bytes + TRIAL_SECONDS_AT),
        .trial_triggers = bytes[TRIAL_TRIGGERS_AT],
        .vectors = bytes[VECTORS_AT],
        .part = bytes[PART_AT],
    };
    return HK_OK;
}

int hk_update_envelope_verify(const hk_update_envelope_t *envelope, const uint8_t key[HK_UPDATE_KEY_BYTES],
                              const char *device_id, const uint8_t trunk_hash[HK_MODEL_HASH_BYTES])
{
    uint8_t digest[HK_SHA256_BYTES];
    hk_hmac_sha256_t hmac;
    hk_hmac_sha256_init(&hmac, key, HK_UPDATE_KEY_BYTES);
    hk_hmac_sha256_update(&hmac, envelope->bytes, HK_UPDATE_TAG_AT);
    hk_hmac_sha256_finish(&hmac, digest);
    if (!hk_is_equal_in_constant_time(digest, envelope->bytes + HK_UPDATE_TAG_AT, sizeof digest)) {
        return HK_ERROR_SIGNATURE;
    }
    hk_sha256_t sha;
    hk_sha256_init(&sha);
    hk_sha256_update(&sha, envelope->payload, envelope->payload_bytes);
    hk_sha256_finish(&sha, digest);
    if (!hk_is_equal_in_constant_time(digest, envelope->bytes + PAYLOAD_HASH_AT, sizeof digest)) {
        return HK_ERROR_CRC;
    }
    const size_t length = strlen(device_id);
    const uint8_t *meant = envelope->bytes + DEVICE_AT;
    if (length > DEVICE_BYTES || memcmp(meant, device_id, length) != 0 || !is_zero(meant + length, DEVICE_BYTES - length)) {
        return HK_ERROR_OTHER_DEVICE;
    }
    return hk_update_envelope_check_trunk(envelope, trunk_hash);
}

int hk_update_envelope_check_trunk(const hk_update_envelope_t *envelope, const uint8_t trunk_hash[HK_MODEL_HASH_BYTES])
{
    return memcmp(envelope->bytes + TRUNK_AT, trunk_hash, HK_MODEL_HASH_BYTES) == 0 ? HK_OK : HK_ERROR_MISMATCH;
}

size_t hk_update_envelope_blob_bytes(const hk_update_envelope_t *envelope)
{
    if (envelope->part != HK_PART_HEAD || envelope->payload_bytes < BLOB_LENGTH_AT + 2) {
        return 0;
    }
    const size_t stated = load_u16(envelope->payload + BLOB_LENGTH_AT);
    return stated <= envelope->payload_bytes ? stated : 0;
}

void hk_update_envelope_write_unsigned(uint8_t out[HK_UPDATE_ENVELOPE_BYTES], const hk_head_t *head,
                                       uint16_t payload_bytes, uint8_t vectors)
{
    memset(out, 0, HK_UPDATE_ENVELOPE_BYTES);
    memcpy(out, "HKUP", 4);
    out[FORMAT_AT] = HK_UPDATE_FORMAT;
    out[PART_AT] = HK_PART_HEAD;
    out[PAYLOAD_BYTES_AT] = (uint8_t)payload_bytes;
    out[PAYLOAD_BYTES_AT + 1] = (uint8_t)(payload_bytes >> 8);
    out[VECTORS_AT] = vectors;
    memcpy(out + TRUNK_AT, head->trunk_hash, HK_MODEL_HASH_BYTES);
    memcpy(out + EVENT_AT, head->event_name, HK_HEAD_NAME_BYTES);
}
