#include "hk_media_set.h"

#include <stdbool.h>
#include <string.h>

#include "hk_error.h"
#include "hk_sha256.h"

enum {
    FORMAT_AT = 4,
    CLIPS_AT = 6,
    PHASES_AT = 7,
    VERSION_AT = 8,
    BYTES_AT = 12,
    TABLE_AT = 48,
    ENTRY_BYTES = 12,
    ENTRY_WORD_AT = 8,
    ENTRY_COUNT_AT = 10,
    PHASES_MAX = 2,
    MIN_BITS = 100,          /* fewer are no evidence, whatever the rules are */
    STRIDE = HK_MEDIA_SET_STRIDE,
    QUARTER = 4,              /* clip words from word to word of the first look, */
    HALF = 2,                 /* and of the second */
    FIRST_LOOK_MIN_Z_Q4 = 24, /* unrelated sound passes one in six times, a match that matters nearly always */
    HALF_LOOK_MIN_Z_Q4 = 40,
    COUNTED_AT_ONCE = 31,     /* words whose errors, at most 8 in each byte, are counted in bytes */
};

_Static_assert(TABLE_AT == HK_MEDIA_SET_SEAL_AT + HK_MEDIA_SET_SEAL_BYTES, "the table follows the seal");
_Static_assert(HK_MEDIA_SET_SEAL_BYTES == HK_SHA256_BYTES, "the seal is a SHA-256");
_Static_assert(TABLE_AT + HK_MEDIA_CLIPS_MAX * (ENTRY_BYTES + PHASES_MAX * 4 * HK_MEDIA_CLIP_WORDS_MAX)
                   <= HK_MEDIA_SET_MAX_BYTES,
               "a full set fits its area");
_Static_assert(HK_MEDIA_SET_MAX_BYTES <= UINT16_MAX && HK_MEDIA_CLIPS_MAX <= UINT8_MAX, "lengths have 16 bits");
_Static_assert((uint64_t)32 * HK_MEDIA_CLIP_WORDS_MAX * 32 * HK_MEDIA_CLIP_WORDS_MAX * 32 * HK_MEDIA_CLIP_WORDS_MAX
                   <= UINT32_MAX,
               "squared excess times bits fits 32 bits");

static uint32_t load_u16(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static uint32_t load_u32(const uint8_t *at)
{
    return load_u16(at) | load_u16(at + 2) << 16;
}

/* ---- the blob ---- */

static bool is_sealed(const uint8_t *blob, size_t n)
{
    hk_sha256_t sha;
    uint8_t digest[HK_SHA256_BYTES];
    hk_sha256_init(&sha);
    hk_sha256_update(&sha, blob, HK_MEDIA_SET_SEAL_AT);
    hk_sha256_update(&sha, blob + TABLE_AT, n - TABLE_AT);
    hk_sha256_finish(&sha, digest);
    return memcmp(digest, blob + HK_MEDIA_SET_SEAL_AT, sizeof digest) == 0;
}

/* Whether every clip's words lie among those that the blob has. */
static bool is_table_sound(const hk_media_set_t *set, size_t word_count)
{
    for (uint32_t clip = 0; clip < set->clip_count; clip++) {
        const uint8_t *entry = set->clips + clip * ENTRY_BYTES;
        const uint32_t first = load_u16(entry + ENTRY_WORD_AT);
        const uint32_t count = load_u16(entry + ENTRY_COUNT_AT);
        if (count == 0 || count > HK_MEDIA_CLIP_WORDS_MAX || first + count * set->phases > word_count) {
            return false;
        }
    }
    return true;
}

int hk_media_set_open(hk_media_set_t *set, const uint8_t *blob, size_t n)
{
    if (blob == NULL || (uintptr_t)blob % 4 != 0) {
        return HK_ERROR_ARGUMENT;
    }
    if (n < TABLE_AT) {
        return HK_ERROR_TRUNCATED;
    }
    if (memcmp(blob, "HKMS", 4) != 0) {
        return HK_ERROR_FORMAT;
    }
    if (load_u16(blob + FORMAT_AT) != HK_MEDIA_SET_FORMAT) {
        return HK_ERROR_VERSION;
    }
    const uint32_t bytes = load_u32(blob + BYTES_AT);
    if (bytes > HK_MEDIA_SET_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    if (bytes > n) {
        return HK_ERROR_TRUNCATED;
    }
    const uint8_t clip_count = blob[CLIPS_AT];
    const size_t words_at = TABLE_AT + (size_t)clip_count * ENTRY_BYTES;
    if (bytes < words_at || bytes % 4 != 0) {
        return HK_ERROR_FORMAT;
    }
    if (!is_sealed(blob, bytes)) {
        return HK_ERROR_CRC;
    }
    /* From here on the bytes are those that somebody meant; they may still not be a set that is safe to search. */
    const hk_media_set_t opened = {
        .blob = blob,
        .clips = blob + TABLE_AT,
        .words = (const uint32_t *)(const void *)(blob + words_at),
        .version = load_u32(blob + VERSION_AT),
        .clip_count = clip_count,
        .phases = blob[PHASES_AT],
    };
    if (clip_count > HK_MEDIA_CLIPS_MAX || opened.phases < 1 || opened.phases > PHASES_MAX || opened.version == 0
        || !is_table_sound(&opened, (bytes - words_at) / 4)) {
        return HK_ERROR_FORMAT;
    }
    *set = opened;
    return HK_OK;
}

const uint8_t *hk_media_set_id(const hk_media_set_t *set, uint8_t clip)
{
    return set->clips + (size_t)clip * ENTRY_BYTES;
}

/* ---- the search ---- */

/* The device's words, and how many bits of each count. */
typedef struct {
    const uint32_t *words;
    const uint32_t *masks;
    uint8_t bits[HK_TRIGGER_FINGERPRINT_WORDS];
    int32_t count;
} query_t;

/* Bits compared, and by how many more agree than differ. */
typedef struct {
    uint32_t bits;
    int32_t excess;
} agreement_t;

/* In each byte how many of its bits are ones. */
static inline uint32_t count_in_bytes(uint32_t value)
{
    value -= (value >> 1) & 0x55555555u;
    value = (value & 0x33333333u) + ((value >> 2) & 0x33333333u);
    return (value + (value >> 4)) & 0x0F0F0F0Fu;
}

/* The four bytes together, which may come to more than a byte holds. */
static inline uint32_t add_bytes(uint32_t value)
{
    value = (value & 0x00FF00FFu) + ((value >> 8) & 0x00FF00FFu);
    return (value + (value >> 16)) & 0xFFFFu;
}

/* Compares clip words first, first + every, … before `end` where the clip's first word lies at `offset` of the query. */
static inline void compare(const query_t *query, const uint32_t *clip, int32_t offset, int32_t first, int32_t end,
                           int32_t every, agreement_t *agreement)
{
    uint32_t bits = 0;
    uint32_t errors = 0;
    while (first < end) {
        const int32_t stop = end - first > COUNTED_AT_ONCE * every ? first + COUNTED_AT_ONCE * every : end;
        const uint32_t *word = query->words + offset + STRIDE * first;
        const uint32_t *mask = query->masks + offset + STRIDE * first;
        const uint8_t *count = query->bits + offset + STRIDE * first;
        uint32_t in_bytes = 0;
        for (; first < stop; first += every) {
            bits += *count;
            in_bytes += count_in_bytes((*word ^ clip[first]) & *mask);
            word += STRIDE * every;
            mask += STRIDE * every;
            count += STRIDE * every;
        }
        errors += add_bytes(in_bytes);
    }
    agreement->bits += bits;
    agreement->excess += (int32_t)bits - 2 * (int32_t)errors;
}

/* Whether z is at least so many sixteenths. */
static inline bool is_at_least(const agreement_t *agreement, uint32_t z_q4)
{
    const uint32_t excess = (uint32_t)agreement->excess; /* of 1,216 bits at most: 256 times its square fits */
    return agreement->excess > 0 && excess * excess * 256u >= z_q4 * z_q4 * agreement->bits;
}

static inline bool is_better(const agreement_t *a, const agreement_t *b)
{
    if (a->excess <= 0) {
        return false;
    }
    const uint32_t of_a = (uint32_t)a->excess * (uint32_t)a->excess;
    const uint32_t of_b = (uint32_t)b->excess * (uint32_t)b->excess;
    return b->excess <= 0 || of_a * b->bits > of_b * a->bits;
}

/* The clip's words that lie within the query. */
static inline void overlap(const query_t *query, int32_t count, int32_t offset, int32_t *first, int32_t *end)
{
    const int32_t last = (query->count - 1 - offset) / STRIDE;
    *first = offset < 0 ? (-offset + STRIDE - 1) / STRIDE : 0;
    *end = last < count - 1 ? last + 1 : count;
}

/* The place at which half of a clip's words agree best; false where none agrees well enough to look further. Words 40 ms
 * apart share most of their sound, so the first look is at every second place. */
static bool find_place(const query_t *query, const uint32_t *clip, int32_t count, int32_t *place)
{
    agreement_t best = {0};
    const int32_t least = HK_MEDIA_MIN_WORDS / STRIDE;
    const int32_t lowest = STRIDE * (least - count);
    const int32_t highest = query->count - 1 - STRIDE * (least - 1);
    int32_t next = lowest; /* to be looked at twice */
    for (int32_t offset = lowest; offset <= highest; offset += 2) {
        int32_t first;
        int32_t end;
        overlap(query, count, offset, &first, &end);
        agreement_t found = {0};
        compare(query, clip, offset, first, end, QUARTER, &found);
        if (!is_at_least(&found, FIRST_LOOK_MIN_Z_Q4)) {
            continue;
        }
        for (next = next > offset - 1 ? next : offset - 1; next <= offset + 1 && next <= highest; next++) {
            overlap(query, count, next, &first, &end);
            found = (agreement_t){0};
            compare(query, clip, next, first, end, HALF, &found);
            if (is_better(&found, &best)) {
                best = found;
                *place = next;
            }
        }
    }
    return is_at_least(&best, HALF_LOOK_MIN_Z_Q4);
}

/* Words of the query that the clip overlaps and that have reliable bits: the seconds that a match rests on. */
static uint32_t count_evidence(const query_t *query, int32_t count, int32_t offset)
{
    uint32_t words = 0;
    for (int32_t n = offset < 0 ? 0 : offset; n < query->count && n < offset + STRIDE * count; n++) {
        words += query->bits[n] > 0 ? 1u : 0u;
    }
    return words;
}

int hk_media_set_find(const hk_media_set_t *set, const hk_fingerprint_query_t *query, hk_media_hit_t *hit)
{
    if (query->count > HK_TRIGGER_FINGERPRINT_WORDS || query->reliable == NULL) {
        return HK_ERROR_ARGUMENT;
    }
    query_t heard = {.words = query->words, .masks = query->reliable, .count = (int32_t)query->count};
    for (int32_t n = 0; n < heard.count; n++) {
        heard.bits[n] = (uint8_t)add_bytes(count_in_bytes(heard.masks[n]));
    }
    agreement_t best = {0};
    for (uint8_t clip = 0; set->blob != NULL && clip < set->clip_count; clip++) {
        const uint8_t *entry = hk_media_set_id(set, clip);
        const uint32_t *words = set->words + load_u16(entry + ENTRY_WORD_AT);
        const int32_t count = (int32_t)load_u16(entry + ENTRY_COUNT_AT);
        int32_t around = 0;
        if (!find_place(&heard, words, count, &around)) {
            continue;
        }
        for (uint8_t phase = 0; phase < set->phases; phase++, words += count) {
            for (int32_t offset = around - 1; offset <= around + 1; offset++) {
                int32_t first;
                int32_t end;
                overlap(&heard, count, offset, &first, &end);
                agreement_t found = {0};
                compare(&heard, words, offset, first, end, 1, &found);
                if (found.bits >= MIN_BITS && is_at_least(&found, 16 * HK_MEDIA_MIN_Z) && is_better(&found, &best)
                    && count_evidence(&heard, count, offset) >= HK_MEDIA_MIN_WORDS) {
                    best = found;
                    *hit = (hk_media_hit_t){
                        .clip = clip,
                        .phase = phase,
                        .match = {.offset = -offset, .bits = found.bits,
                                  .bit_errors = (found.bits - (uint32_t)found.excess) / 2},
                    };
                }
            }
        }
    }
    return best.bits > 0 ? HK_OK : HK_ERROR_NOT_FOUND;
}

uint16_t hk_media_z_q4(const hk_fingerprint_match_t *match)
{
    const int32_t excess = (int32_t)match->bits - 2 * (int32_t)match->bit_errors;
    uint32_t z_q4 = 0;
    if (excess > 0) {
        const uint32_t squared = (uint32_t)excess * (uint32_t)excess;
        for (uint32_t bit = 1u << 9; bit > 0; bit >>= 1) { /* z is at most sqrt(1216) = 34.9 */
            const uint32_t tried = z_q4 | bit;
            z_q4 = (uint64_t)tried * tried * match->bits <= (uint64_t)squared * 256 ? tried : z_q4;
        }
    }
    return (uint16_t)z_q4;
}
