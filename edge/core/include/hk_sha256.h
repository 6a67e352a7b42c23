/* SHA-256 (FIPS 180-4), a piece at a time. The caller owns the struct (104 bytes). Not for use from an interrupt. */
#ifndef HK_SHA256_H
#define HK_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define HK_SHA256_BYTES 32u
#define HK_SHA256_BLOCK_BYTES 64u

typedef struct {
    uint32_t state[8];
    uint32_t length; /* bytes so far: up to 512 MB */
    uint8_t block[HK_SHA256_BLOCK_BYTES];
} hk_sha256_t;

void hk_sha256_init(hk_sha256_t *sha);
void hk_sha256_update(hk_sha256_t *sha, const uint8_t *bytes, size_t n);
/* The digest of all that came; begin anew afterwards. */
void hk_sha256_finish(hk_sha256_t *sha, uint8_t digest[HK_SHA256_BYTES]);

#endif
