#include "hk_hmac_sha256.h"

#include <string.h>

enum { INNER_PAD = 0x36, OUTER_PAD = 0x5c };

void hk_wipe(void *bytes, size_t n)
{
    volatile uint8_t *at = bytes;
    while (n-- > 0) {
        *at++ = 0;
    }
}

static void start(hk_sha256_t *sha, const uint8_t key[HK_SHA256_BLOCK_BYTES], uint8_t pad)
{
    uint8_t block[HK_SHA256_BLOCK_BYTES];
    for (uint32_t i = 0; i < sizeof block; i++) {
        block[i] = key[i] ^ pad;
    }
    hk_sha256_init(sha);
    hk_sha256_update(sha, block, sizeof block);
    hk_wipe(block, sizeof block);
}

void hk_hmac_sha256_init(hk_hmac_sha256_t *hmac, const uint8_t *key, size_t key_bytes)
{
    uint8_t padded[HK_SHA256_BLOCK_BYTES] = {0};
    if (key_bytes > sizeof padded) {
        hk_sha256_init(&hmac->inner);
        hk_sha256_update(&hmac->inner, key, key_bytes);
        hk_sha256_finish(&hmac->inner, padded);
    } else if (key_bytes > 0) {
        memcpy(padded, key, key_bytes);
    }
    start(&hmac->inner, padded, INNER_PAD);
    start(&hmac->outer, padded, OUTER_PAD);
    hk_wipe(padded, sizeof padded);
}

void hk_hmac_sha256_update(hk_hmac_sha256_t *hmac, const uint8_t *bytes, size_t n)
{
    hk_sha256_update(&hmac->inner, bytes, n);
}

void hk_hmac_sha256_finish(hk_hmac_sha256_t *hmac, uint8_t code[HK_SHA256_BYTES])
{
    hk_sha256_finish(&hmac->inner, code);
    hk_sha256_update(&hmac->outer, code, HK_SHA256_BYTES);
    hk_sha256_finish(&hmac->outer, code);
    hk_wipe(hmac, sizeof *hmac);
}

bool hk_is_equal_in_constant_time(const uint8_t *a, const uint8_t *b, size_t n)
{
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < n; i++) {
        difference = (uint8_t)(difference | (a[i] ^ b[i]));
    }
    return difference == 0;
}
