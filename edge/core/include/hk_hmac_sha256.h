/* HMAC with SHA-256 (RFC 2104, FIPS 198-1), a piece at a time. The caller owns the struct (208 bytes), which holds what the
 * key made: clear it by hk_hmac_sha256_finish. Not for use from an interrupt. */
#ifndef HK_HMAC_SHA256_H
#define HK_HMAC_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_sha256.h"

typedef struct {
    hk_sha256_t inner;
    hk_sha256_t outer;
} hk_hmac_sha256_t;

/* A key of any length; one longer than a block (64 bytes) is hashed first. */
void hk_hmac_sha256_init(hk_hmac_sha256_t *hmac, const uint8_t *key, size_t key_bytes);
void hk_hmac_sha256_update(hk_hmac_sha256_t *hmac, const uint8_t *bytes, size_t n);
/* The code of all that came; the struct is cleared. */
void hk_hmac_sha256_finish(hk_hmac_sha256_t *hmac, uint8_t code[HK_SHA256_BYTES]);

/* Makes `n` bytes zero; the compiler cannot leave it out, as it may memset of what is not read again. */
void hk_wipe(void *bytes, size_t n);

/* Whether `n` bytes are equal, in a time that does not depend on where they differ. */
bool hk_is_equal_in_constant_time(const uint8_t *a, const uint8_t *b, size_t n);

#endif
