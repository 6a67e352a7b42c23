#include "hk_sha256.h"

#include <string.h>

enum { ROUNDS = 64, SCHEDULE = 16, LENGTH_AT = HK_SHA256_BLOCK_BYTES - 8 };

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
static const uint32_t constants[ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t value, uint32_t by)
{
    return value >> by | value << (32u - by);
}

static uint32_t load_be(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store_be(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

/* The schedule is kept as a ring of the last 16 words, because the stack is small. */
static void take_block(hk_sha256_t *sha)
{
    uint32_t w[SCHEDULE];
    uint32_t s[8];
    memcpy(s, sha->state, sizeof s);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (i < SCHEDULE) {
            w[i] = load_be(sha->block + 4 * i);
        } else {
            const uint32_t early = w[(i + 1) % SCHEDULE];
            const uint32_t late = w[(i + 14) % SCHEDULE];
            const uint32_t s0 = rotate(early, 7) ^ rotate(early, 18) ^ early >> 3;
            const uint32_t s1 = rotate(late, 17) ^ rotate(late, 19) ^ late >> 10;
            w[i % SCHEDULE] += s0 + w[(i + 9) % SCHEDULE] + s1;
        }
        const uint32_t e = rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25);
        const uint32_t t1 = s[7] + e + ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i % SCHEDULE];
        const uint32_t a = rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22);
        const uint32_t t2 = a + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (uint32_t i = 0; i < 8; i++) {
        sha->state[i] += s[i];
    }
}

void hk_sha256_init(hk_sha256_t *sha)
{
    static const uint32_t start[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    memcpy(sha->state, start, sizeof start);
    sha->length = 0;
}

void hk_sha256_update(hk_sha256_t *sha, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        const size_t filled = sha->length % HK_SHA256_BLOCK_BYTES;
        const size_t room = HK_SHA256_BLOCK_BYTES - filled;
        const size_t taken = n < room ? n : room;
        memcpy(sha->block + filled, bytes, taken);
        sha->length += (uint32_t)taken;
        bytes += taken;
        n -= taken;
        if (taken == room) {
            take_block(sha);
        }
    }
}

void hk_sha256_finish(hk_sha256_t *sha, uint8_t digest[HK_SHA256_BYTES])
{
    const uint32_t length = sha->length;
    size_t filled = length % HK_SHA256_BLOCK_BYTES;
    sha->block[filled++] = 0x80;
    if (filled > LENGTH_AT) {
        memset(sha->block + filled, 0, HK_SHA256_BLOCK_BYTES - filled);
        take_block(sha);
        filled = 0;
    }
    memset(sha->block + filled, 0, HK_SHA256_BLOCK_BYTES - filled);
    store_be(sha->block + LENGTH_AT, length >> 29);
    store_be(sha->block + LENGTH_AT + 4, length << 3);
    take_block(sha);
    for (uint32_t i = 0; i < 8; i++) {
        store_be(digest + 4 * i, sha->state[i]);
    }
}
