/* Finds, among millions of recordings, those that a fingerprint may come from. Host only: the cloud's index.
 *
 * A segment holds the words of many recordings one after the other, every HK_MEDIA_STEPS_PER_WORD steps, and an
 * inverted index of them. The key of a word is made of bits of it and of the word two later (a bit pattern in time
 * and frequency); its first `bucket_bits` bits number a bucket, the next ones are a tag beside the word's position,
 * so that most of what a bucket holds is passed over without a look at the words.
 *
 * A query's bits are not equally sure: hk_fingerprint's reliability mask, and whether the same bit 40 ms before and
 * after agrees, say how likely each is wrong. Keys are probed in the order of their likelihood ("multi-probe";
 * Lv et al., VLDB 2007, on bits whose reliability is known: Haitsma and Kalker 2002), as many as the budget allows.
 * What a probe finds is compared word by word. No state is kept between calls; calls may run at the same time. */
#ifndef HK_MEDIA_SEARCH_H
#define HK_MEDIA_SEARCH_H

#include <stddef.h>
#include <stdint.h>

#define HK_MEDIA_STEPS_PER_WORD 4
#define HK_MEDIA_KEY_SPAN_WORDS 2 /* the key of word n reaches to word n + 2 */
#define HK_MEDIA_BUCKET_BITS_MAX 26
#define HK_MEDIA_LAYOUT_VERSION 1 /* of the keys: segments built with another one cannot be searched */

/* The caller owns all memory, such as mapped files. Recording r holds the words [starts[r], starts[r + 1]). */
typedef struct {
    const uint32_t *words;
    const uint32_t *starts;    /* recordings + 1, ascending, from 0 to the count of words */
    const uint32_t *directory; /* 2^bucket_bits + 1: where each bucket's postings begin */
    const uint32_t *postings;  /* tag << position_bits | position */
    const uint8_t *removed;    /* a byte for each recording, not 0: it is to be left out; or NULL */
    uint32_t recordings;
    uint8_t bucket_bits;   /* up to HK_MEDIA_BUCKET_BITS_MAX */
    uint8_t position_bits; /* 1 .. 31 */
} hk_media_segment_t;

typedef struct {
    const uint32_t *words;
    const uint32_t *masks; /* a bit of 1: reliable; a mask of 0: the word is no evidence */
    uint32_t count;
    uint32_t per_word; /* query words for each word of a segment: 4 where they are 20 ms apart, 2 where 40 ms */
    uint32_t min_bits; /* places that compare fewer reliable bits are left out */
} hk_media_query_t;

/* How much a search may look at. */
typedef struct {
    uint32_t probes;     /* buckets */
    uint32_t bucket_max; /* a bucket that holds more says nothing: it is passed over */
    uint32_t candidates; /* places compared word by word */
} hk_media_budget_t;

/* The best place of the query in one recording. */
typedef struct {
    int64_t first_word; /* where the query's first word lies, in words of the segment; may be before the recording */
    uint32_t recording;
    uint32_t phase;    /* query words phase, phase + per_word, … lie on words of the segment */
    uint32_t compared; /* reliable bits of the query within the recording */
    uint32_t agreeing; /* of them */
} hk_media_place_t;

/* What a search did. */
typedef struct {
    uint32_t probes;
    uint32_t postings;
    uint32_t candidates;
    uint32_t compared_fully;
} hk_media_effort_t;

/* Bytes of scratch memory, aligned to 8, that a search within this budget needs. */
size_t hk_media_search_bytes(const hk_media_budget_t *budget);

/* Searches a segment. places: room for place_max, filled with the best place of each of the best recordings, best
 * first: by (agreeing - disagreeing) / sqrt(compared). Returns how many were found, or HK_ERROR_ARGUMENT. */
int hk_media_search(const hk_media_segment_t *segment, const hk_media_query_t *query, const hk_media_budget_t *budget,
                    void *scratch, hk_media_place_t *places, uint32_t place_max, hk_media_effort_t *effort);

/* Compares the query with every place of a segment; directory and postings are not looked at. For small segments,
 * and as the truth that a search is judged by. */
int hk_media_search_all(const hk_media_segment_t *segment, const hk_media_query_t *query, hk_media_place_t *places,
                        uint32_t place_max);

/* Builds directory (2^bucket_bits + 1) and postings (room for one a word) of the words for which `usable` (a byte
 * each) is not 0. Returns how many postings were written. */
size_t hk_media_build(const uint32_t *words, const uint8_t *usable, const uint32_t *starts, uint32_t recordings,
                      uint8_t bucket_bits, uint8_t position_bits, uint32_t *directory, uint32_t *postings);

#endif
