/* Finds, among millions of recordings, those that a fingerprint may come from. Host only: the cloud's index.
 *
 * A segment holds rows of words one after the other, every HK_MEDIA_STEPS_PER_WORD steps (the caller keeps two rows of
 * each recording, half a query word apart), and an inverted index of some of them. Each row begins a line of
 * HK_MEDIA_LINE_WORDS words, a cache line, and is filled up to whole lines. The key of a word is made of bits of it and
 * of the word two later (a bit pattern in time and frequency); its first `bucket_bits` bits number a bucket, the next are
 * a tag beside the word's position, so that most of what a bucket holds is passed over without a look at the words.
 * A bucket with more than HK_MEDIA_BUCKET_MAX words says nothing and is left empty.
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
#define HK_MEDIA_POSITION_BITS 28
#define HK_MEDIA_TAG_BITS 20
#define HK_MEDIA_POSTING_HALVES 3 /* of 16 bits: of the tag, of the position, and what is left of tag and position */
#define HK_MEDIA_BUCKET_MAX 64
#define HK_MEDIA_GROUP_BUCKETS 28 /* a group of the directory: the postings before it, 4 bytes; counts, a byte each */
#define HK_MEDIA_GROUP_BYTES 32
#define HK_MEDIA_LINE_WORDS 16
#define HK_MEDIA_LAYOUT_VERSION 4 /* of the keys: segments built with another one cannot be searched */

/* The caller owns all memory, such as mapped files. Row r begins at word starts[r] & ~15, the first of a line;
 * starts[r] & 15 words before the next row are there to fill the line. */
typedef struct {
    const uint32_t *words;
    const uint32_t *starts;   /* rows + 1, ascending, from 0 to the count of words */
    const uint8_t *directory; /* groups of buckets, HK_MEDIA_GROUP_BYTES each; aligned to 4 bytes */
    const uint16_t *postings; /* HK_MEDIA_POSTING_HALVES each, bucket after bucket */
    const uint8_t *removed;   /* a byte for each row, not 0: it is to be left out; or NULL */
    uint32_t rows;
    uint8_t bucket_bits; /* up to HK_MEDIA_BUCKET_BITS_MAX */
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
    uint32_t candidates; /* places compared word by word */
} hk_media_budget_t;

/* The best place of the query in one row. */
typedef struct {
    int64_t first_word; /* of the row: where the query's first word lies; may be negative */
    uint32_t row;
    uint32_t phase;    /* query words phase, phase + per_word, … lie on words of the row */
    uint32_t compared; /* reliable bits of the query within the row */
    uint32_t agreeing; /* of them */
} hk_media_place_t;

/* One bucket to look into, and what a posting there must carry. */
typedef struct {
    uint32_t bucket;
    uint32_t position; /* of the query's word whose key this is */
    uint32_t tag;
    uint32_t tag_reliable; /* the bits of it that count */
    uint32_t errors_max;   /* so many of them may differ */
} hk_media_probe_t;

/* Where a query may lie: its word `position` on a word of the segment. */
typedef struct {
    uint32_t word;
    uint32_t position;
} hk_media_candidate_t;

/* What a search did. */
typedef struct {
    uint32_t probes;
    uint32_t postings;
    uint32_t candidates;
    uint32_t compared_fully;
} hk_media_effort_t;

/* Bytes of scratch memory, aligned to 8, that a search within this budget needs. */
size_t hk_media_search_bytes(const hk_media_budget_t *budget);

/* Searches a segment. places: room for place_max, filled with the best place of each of the best rows, best
 * first: by (agreeing - disagreeing) / sqrt(compared). Returns how many were found, or HK_ERROR_ARGUMENT. */
int hk_media_search(const hk_media_segment_t *segment, const hk_media_query_t *query, const hk_media_budget_t *budget,
                    void *scratch, hk_media_place_t *places, uint32_t place_max, hk_media_effort_t *effort);

/* Compares the query with every place of a segment; directory and postings are not looked at. For small segments,
 * and as the truth that a search is judged by. */
int hk_media_search_all(const hk_media_segment_t *segment, const hk_media_query_t *query, hk_media_place_t *places,
                        uint32_t place_max);

/* The probes of a search, likeliest first: for an index that is kept elsewhere. scratch: as for a search. probes: room
 * for the budget's. Returns how many there are, or HK_ERROR_ARGUMENT. */
int hk_media_list_probes(const hk_media_query_t *query, uint8_t bucket_bits, const hk_media_budget_t *budget,
                         void *scratch, hk_media_probe_t *probes);

/* For each of `count` postings found elsewhere, whether a search would compare its row: is_promising gets 1 or 0.
 * lines: HK_MEDIA_LINE_WORDS words for each, those of the line around the posting's word; places: the word's place in
 * it; positions: the query's. */
void hk_media_judge_lines(const hk_media_query_t *query, const uint32_t *lines, const uint8_t *places,
                          const uint32_t *positions, uint32_t count, uint8_t *is_promising);

/* What a search does with its candidates, for some that were found elsewhere; directory and postings are not looked at.
 * Returns as hk_media_search does. */
int hk_media_compare(const hk_media_segment_t *segment, const hk_media_query_t *query,
                     const hk_media_candidate_t *candidates, uint32_t count, hk_media_place_t *places,
                     uint32_t place_max);

/* The key of a word, given the word HK_MEDIA_KEY_SPAN_WORDS later: bucket_bits of bucket, then HK_MEDIA_TAG_BITS. */
uint64_t hk_media_key(uint32_t word, uint32_t later, uint8_t bucket_bits);

/* Bytes of a directory of 2^bucket_bits buckets. */
size_t hk_media_directory_bytes(uint8_t bucket_bits);

/* Builds directory and postings of the words for which `is_key` (a byte each) is not 0. postings: room for one for each
 * of those. scratch: room for 2^bucket_bits counts. Returns how many postings were written. */
size_t hk_media_build(const uint32_t *words, const uint8_t *is_key, const uint32_t *starts, uint32_t rows,
                      uint8_t bucket_bits, uint32_t *scratch, uint8_t *directory, uint16_t *postings);

#endif
