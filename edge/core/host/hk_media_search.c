#include "hk_media_search.h"

#include <stdbool.h>
#include <string.h>

#include "hk_best_list.h"
#include "hk_error.h"

enum {
    KEY_BITS_MAX = 46,
    POSITIONS_MAX = 512,  /* query words whose keys are probed: 10 s and more */
    COSTS = 224,          /* a key's unlikeliness, in eighths of a nat */
    LOCAL_MIN_BITS = 48,  /* a line that compares fewer says nothing: the row is compared fully */
    LOCAL_Z_SQUARED = 20, /* what it must reach there */
    TAG_ERRORS_PER_16 = 4,
    PREFETCH_AHEAD = 16,
    LINE_MASK = HK_MEDIA_LINE_WORDS - 1,
};

_Static_assert(HK_MEDIA_POSITION_BITS + HK_MEDIA_TAG_BITS == 16 * HK_MEDIA_POSTING_HALVES, "a posting has two parts");
_Static_assert(HK_MEDIA_GROUP_BUCKETS + sizeof(uint32_t) == HK_MEDIA_GROUP_BYTES, "a group is a sum and its counts");
_Static_assert(HK_MEDIA_BUCKET_BITS_MAX + HK_MEDIA_TAG_BITS <= KEY_BITS_MAX, "a key is a bucket and a tag");

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__)
#define WITH_POPCNT __attribute__((target_clones("popcnt", "default")))
#else
#define WITH_POPCNT
#endif

/* Bits of the key: of the word itself, or of the one KEY_SPAN later. */
typedef struct {
    uint8_t word;
    uint8_t bit;
} key_bit_t;

/* The word's 22 lower bits (300 to 1100 Hz: what small loudspeakers, rooms and households leave clearest), then those of
 * the later word. At 5 dB more of the true places were found so, for the same effort, than by bits 2 to 23, by the lower
 * 11 of both words, or by leaving out bits that resemble their neighbour. */
#define EIGHT_BITS(word, n) \
    {word, n}, {word, n + 1}, {word, n + 2}, {word, n + 3}, {word, n + 4}, {word, n + 5}, {word, n + 6}, {word, n + 7}
static const key_bit_t key_layout[KEY_BITS_MAX] = {
    EIGHT_BITS(0, 0),  EIGHT_BITS(0, 8), {0, 16}, {0, 17}, {0, 18}, {0, 19}, {0, 20}, {0, 21}, //
    EIGHT_BITS(1, 0), EIGHT_BITS(1, 8), EIGHT_BITS(1, 16),
};

/* How likely a bit is wrong, by class: 5 * is_reliable + agreement with its two neighbours in time (0: both reliable
 * and different, 2: unknown, 4: both reliable and the same). Cost of flipping it and of not flipping it: -log of the
 * odds and of the chance that it is right, in eighths of a nat. Measured on music and speech through a small
 * loudspeaker, a room and household noise at 5 and 10 dB: wrong are .46 .36 .31 .28 of the unreliable bits (classes 1 to
 * 4) and .35 .34 .28 .19 .14 of the reliable ones (5 to 9). */
static const uint8_t flip_cost[10] = {1, 1, 5, 6, 8, 5, 5, 8, 11, 15};
static const uint8_t keep_cost_q4[10] = {89, 79, 57, 48, 42, 55, 52, 41, 27, 19}; /* sixteenths of it */

typedef struct {
    uint32_t bucket;
    uint16_t keyed; /* which of the query's keys */
    uint16_t cost;
} probe_t;

typedef struct {
    uint64_t key;
    uint64_t reliable;
    uint32_t base_cost;
    uint16_t position;
    uint8_t order[KEY_BITS_MAX]; /* directory bits, cheapest flip first */
    uint8_t cost[KEY_BITS_MAX];  /* of each in that order */
} keyed_t;

static uint64_t key_of(const uint32_t *words, const uint32_t *later)
{
    const uint32_t from[2] = {*words, *later};
    uint64_t key = 0;
    for (uint32_t n = 0; n < KEY_BITS_MAX; n++) {
        key = key << 1 | ((from[key_layout[n].word] >> key_layout[n].bit) & 1u);
    }
    return key; /* first bit of the layout on top */
}

/* A key's bucket, and its tag below it. */
static uint64_t bucket_and_tag(uint64_t key, uint32_t bucket_bits)
{
    return key >> (KEY_BITS_MAX - bucket_bits - HK_MEDIA_TAG_BITS);
}

static uint32_t tag_of(uint64_t key, uint32_t bucket_bits)
{
    return (uint32_t)bucket_and_tag(key, bucket_bits) & ((1u << HK_MEDIA_TAG_BITS) - 1u);
}

uint64_t hk_media_key(uint32_t word, uint32_t later, uint8_t bucket_bits)
{
    return bucket_and_tag(key_of(&word, &later), bucket_bits);
}

static void write_posting(uint16_t *posting, uint32_t tag, uint32_t word)
{
    posting[0] = (uint16_t)tag;
    posting[1] = (uint16_t)word;
    posting[2] = (uint16_t)(tag >> 16 << (HK_MEDIA_POSITION_BITS - 16) | word >> 16);
}

static inline uint32_t posting_tag(const uint16_t *posting)
{
    return posting[0] | (uint32_t)posting[2] >> (HK_MEDIA_POSITION_BITS - 16) << 16;
}

static inline uint32_t posting_word(const uint16_t *posting)
{
    return posting[1] | (posting[2] & ((1u << (HK_MEDIA_POSITION_BITS - 16)) - 1u)) << 16;
}

size_t hk_media_directory_bytes(uint8_t bucket_bits)
{
    const size_t buckets = (size_t)1 << bucket_bits;
    return (buckets + HK_MEDIA_GROUP_BUCKETS - 1) / HK_MEDIA_GROUP_BUCKETS * HK_MEDIA_GROUP_BYTES;
}

static inline const uint8_t *group_of(const uint8_t *directory, uint32_t bucket)
{
    return directory + (size_t)(bucket / HK_MEDIA_GROUP_BUCKETS) * HK_MEDIA_GROUP_BYTES;
}

/* Where a bucket's postings begin, and how many there are. */
static inline uint32_t look_up(const uint8_t *directory, uint32_t bucket, uint32_t *count)
{
    const uint8_t *group = group_of(directory, bucket);
    uint32_t from;
    memcpy(&from, group, sizeof from);
    const uint8_t *counts = group + sizeof from;
    for (uint32_t n = 0; n < bucket % HK_MEDIA_GROUP_BUCKETS; n++) {
        from += counts[n];
    }
    *count = counts[bucket % HK_MEDIA_GROUP_BUCKETS];
    return from;
}

static uint32_t first_word_of(const uint32_t *starts, uint32_t row)
{
    return starts[row] & ~(uint32_t)LINE_MASK;
}

static uint32_t end_word_of(const uint32_t *starts, uint32_t row)
{
    return first_word_of(starts, row + 1) - (starts[row] & LINE_MASK);
}

/* Turns counts into a directory, and each into where its bucket's postings go; UINT32_MAX: nowhere. Returns the sum. */
static uint32_t write_directory(uint32_t *counts, size_t buckets, uint8_t *directory)
{
    uint32_t sum = 0;
    for (size_t bucket = 0; bucket < buckets; bucket++) {
        uint8_t *group = directory + bucket / HK_MEDIA_GROUP_BUCKETS * HK_MEDIA_GROUP_BYTES;
        if (bucket % HK_MEDIA_GROUP_BUCKETS == 0) {
            memset(group, 0, HK_MEDIA_GROUP_BYTES);
            memcpy(group, &sum, sizeof sum);
        }
        const uint32_t count = counts[bucket] > HK_MEDIA_BUCKET_MAX ? 0 : counts[bucket];
        counts[bucket] = counts[bucket] > HK_MEDIA_BUCKET_MAX ? UINT32_MAX : sum;
        group[sizeof sum + bucket % HK_MEDIA_GROUP_BUCKETS] = (uint8_t)count;
        sum += count;
    }
    return sum;
}

size_t hk_media_build(const uint32_t *words, const uint8_t *is_key, const uint32_t *starts, uint32_t rows,
                      uint8_t bucket_bits, uint32_t *scratch, uint8_t *directory, uint16_t *postings)
{
    const size_t buckets = (size_t)1 << bucket_bits;
    size_t written = 0;
    memset(scratch, 0, buckets * sizeof *scratch);
    for (int is_filling = 0; is_filling < 2; is_filling++) {
        for (uint32_t row = 0; row < rows; row++) {
            const uint32_t end = end_word_of(starts, row);
            for (uint32_t n = first_word_of(starts, row); n + HK_MEDIA_KEY_SPAN_WORDS < end; n++) {
                if (!is_key[n]) {
                    continue;
                }
                const uint64_t key = key_of(words + n, words + n + HK_MEDIA_KEY_SPAN_WORDS);
                uint32_t *slot = &scratch[key >> (KEY_BITS_MAX - bucket_bits)];
                if (!is_filling) {
                    ++*slot;
                } else if (*slot != UINT32_MAX) {
                    write_posting(postings + (size_t)(*slot)++ * HK_MEDIA_POSTING_HALVES, tag_of(key, bucket_bits), n);
                }
            }
        }
        if (!is_filling) {
            written = write_directory(scratch, buckets, directory);
        }
    }
    return written;
}

static uint32_t classes_at(const hk_media_query_t *query, uint32_t n, uint32_t bit)
{
    const uint32_t lag = query->per_word / 2; /* 40 ms */
    const uint32_t word = query->words[n];
    uint32_t class = ((query->masks[n] >> bit) & 1u) * 5u;
    const int64_t neighbours[2] = {(int64_t)n - lag, (int64_t)n + lag};
    for (uint32_t side = 0; side < 2; side++) {
        const int64_t at = neighbours[side];
        if (at < 0 || at >= query->count || ((query->masks[at] >> bit) & 1u) == 0) {
            class += 1;
        } else {
            class += ((query->words[at] ^ word) >> bit) & 1u ? 0u : 2u;
        }
    }
    return class;
}

/* The key at a place of the query, and what flipping its bits costs. */
static void make_key(const hk_media_query_t *query, uint32_t position, uint32_t bucket_bits, keyed_t *keyed)
{
    const uint32_t later = position + HK_MEDIA_KEY_SPAN_WORDS * query->per_word;
    const uint32_t masks[2] = {query->masks[position], query->masks[later]};
    keyed->key = key_of(query->words + position, query->words + later);
    keyed->position = (uint16_t)position;
    keyed->reliable = 0;
    uint32_t keep_q4 = 0;
    uint32_t count = 0;
    for (uint32_t n = 0; n < KEY_BITS_MAX; n++) {
        const key_bit_t at = key_layout[n];
        keyed->reliable = keyed->reliable << 1 | ((masks[at.word] >> at.bit) & 1u);
        if (n >= bucket_bits) {
            continue;
        }
        const uint32_t class = classes_at(query, at.word == 0 ? position : later, at.bit);
        keep_q4 += keep_cost_q4[class];
        uint32_t place = count++;
        for (; place > 0 && keyed->cost[place - 1] > flip_cost[class]; place--) {
            keyed->cost[place] = keyed->cost[place - 1];
            keyed->order[place] = keyed->order[place - 1];
        }
        keyed->cost[place] = flip_cost[class];
        keyed->order[place] = (uint8_t)n;
    }
    keyed->base_cost = keep_q4 / 16;
}

/* How many keys there are at each cost: of one place, added to the sum over all. */
static void count_keys(const keyed_t *keyed, uint32_t bucket_bits, float counts[COSTS])
{
    float sums[2][COSTS] = {{0}};
    float *from = sums[0];
    float *to = sums[1];
    from[0] = 1;
    for (uint32_t n = 0; n < bucket_bits; n++) {
        const uint32_t cost = keyed->cost[n];
        memcpy(to, from, cost * sizeof *to);
        for (uint32_t at = cost; at < COSTS; at++) {
            to[at] = from[at] + from[at - cost];
        }
        float *swap = from;
        from = to;
        to = swap;
    }
    for (uint32_t at = keyed->base_cost; at < COSTS; at++) {
        counts[at] += from[at - keyed->base_cost];
    }
}

typedef struct {
    probe_t *probes;
    uint32_t count;
    uint32_t max;
    uint32_t cost_max;
    uint32_t bucket_bits;
} list_t;

static void list_keys(list_t *list, const keyed_t *keyed, uint16_t which, uint32_t first, uint32_t bucket,
                      uint32_t cost)
{
    if (list->count >= list->max) {
        return;
    }
    list->probes[list->count++] = (probe_t){bucket, which, (uint16_t)cost};
    for (uint32_t n = first; n < list->bucket_bits && cost + keyed->cost[n] <= list->cost_max; n++) {
        const uint32_t flipped = bucket ^ 1u << (list->bucket_bits - 1u - keyed->order[n]);
        list_keys(list, keyed, which, n + 1, flipped, cost + keyed->cost[n]);
    }
}

static inline uint32_t ones(uint32_t value)
{
    return (uint32_t)__builtin_popcount(value);
}

static uint32_t identity_of(const void *item)
{
    return ((const hk_media_place_t *)item)->row;
}

static double worth_of(const void *item)
{
    const hk_media_place_t *place = item;
    return hk_agreement(place->compared, place->agreeing);
}

static const hk_best_list_kind_t places_of_rows = {sizeof(hk_media_place_t), identity_of, worth_of};

/* The row that holds a word. */
static uint32_t row_of(const hk_media_segment_t *segment, uint32_t word)
{
    uint32_t low = 0;
    uint32_t high = segment->rows;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (first_word_of(segment->starts, middle) <= word) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Compares query words position, position + per_word, … before `end` with the words from `place` on. */
static inline void compare(const hk_media_query_t *query, uint32_t position, uint32_t end, const uint32_t *words,
                           uint32_t *compared, uint32_t *agreeing)
{
    for (; position < end; position += query->per_word) {
        const uint32_t mask = query->masks[position];
        *compared += ones(mask);
        *agreeing += ones(~(query->words[position] ^ *words++) & mask);
    }
}

/* The query within one row, given where in it the query's first word lies. */
WITH_POPCNT static void compare_fully(const hk_media_segment_t *segment, const hk_media_query_t *query, uint32_t row,
                                      int64_t first_word, uint32_t phase, hk_media_place_t *found)
{
    const uint32_t from = first_word_of(segment->starts, row);
    const int64_t length = end_word_of(segment->starts, row) - from;
    const int64_t skipped = first_word < 0 ? -first_word : 0;
    const int64_t room = (length - first_word) * query->per_word + phase; /* the first query word beyond it */
    *found = (hk_media_place_t){.first_word = first_word, .row = row, .phase = phase};
    if (room <= 0) {
        return;
    }
    const uint32_t end = room < query->count ? (uint32_t)room : query->count;
    compare(query, phase + (uint32_t)skipped * query->per_word, end, segment->words + from + first_word + skipped,
            &found->compared, &found->agreeing);
}

/* Whether the line around a candidate agrees well enough to look further: its word `place` lies at `position`. */
WITH_POPCNT static bool is_promising(const hk_media_query_t *query, const uint32_t *line, uint32_t place,
                                     uint32_t position)
{
    const uint32_t before = place < position / query->per_word ? place : position / query->per_word;
    const uint32_t beyond = position + (HK_MEDIA_LINE_WORDS - place) * query->per_word;
    uint32_t compared = 0;
    uint32_t agreeing = 0;
    compare(query, position - before * query->per_word, beyond < query->count ? beyond : query->count,
            line + place - before, &compared, &agreeing);
    const int64_t excess = 2 * (int64_t)agreeing - compared;
    return compared < LOCAL_MIN_BITS || (excess > 0 && excess * excess > (int64_t)LOCAL_Z_SQUARED * compared);
}

void hk_media_judge_lines(const hk_media_query_t *query, const uint32_t *lines, const uint8_t *places,
                          const uint32_t *positions, uint32_t count, uint8_t *is_promising_line)
{
    for (uint32_t n = 0; n < count; n++) {
        is_promising_line[n] = is_promising(query, lines + (size_t)n * HK_MEDIA_LINE_WORDS, places[n], positions[n]);
    }
}

typedef struct {
    keyed_t keyed[POSITIONS_MAX];
    uint32_t by_cost[COSTS + 1];
} fixed_t;

size_t hk_media_search_bytes(const hk_media_budget_t *budget)
{
    return sizeof(fixed_t) + 2 * (size_t)budget->probes * sizeof(probe_t)
           + (size_t)budget->candidates * sizeof(hk_media_candidate_t);
}

/* Lists the likeliest probes, likeliest first. Returns how many. */
static uint32_t list_probes(const hk_media_query_t *query, uint32_t bucket_bits, fixed_t *fixed, probe_t *unsorted,
                            probe_t *sorted, uint32_t max)
{
    const uint32_t span = HK_MEDIA_KEY_SPAN_WORDS * query->per_word;
    float counts[COSTS] = {0};
    uint32_t keys = 0;
    for (uint32_t n = 0; n + span < query->count && keys < POSITIONS_MAX; n++) {
        if (query->masks[n] == 0 || query->masks[n + span] == 0) {
            continue;
        }
        make_key(query, n, bucket_bits, &fixed->keyed[keys]);
        count_keys(&fixed->keyed[keys++], bucket_bits, counts);
    }
    uint32_t cost_max = 0;
    float sum = 0;
    for (uint32_t cost = 0; cost < COSTS && sum + counts[cost] <= (float)max; cost++) {
        sum += counts[cost];
        cost_max = cost;
    }
    list_t list = {.probes = unsorted, .max = max, .cost_max = cost_max, .bucket_bits = bucket_bits};
    for (uint32_t n = 0; n < keys; n++) {
        const keyed_t *keyed = &fixed->keyed[n];
        if (keyed->base_cost <= cost_max) {
            const uint32_t bucket = (uint32_t)(keyed->key >> (KEY_BITS_MAX - bucket_bits));
            list_keys(&list, keyed, (uint16_t)n, 0, bucket, keyed->base_cost);
        }
    }
    memset(fixed->by_cost, 0, sizeof fixed->by_cost);
    for (uint32_t n = 0; n < list.count; n++) {
        fixed->by_cost[unsorted[n].cost + 1]++;
    }
    for (uint32_t cost = 0; cost < COSTS; cost++) {
        fixed->by_cost[cost + 1] += fixed->by_cost[cost];
    }
    for (uint32_t n = 0; n < list.count; n++) {
        sorted[fixed->by_cost[unsorted[n].cost]++] = unsorted[n];
    }
    return list.count;
}

/* How many reliable bits of a tag may differ. At 5 in 16 as many again of the places that a million clips offer are
 * compared, and one in a hundred more of the true ones found; at 3 in 16 three in a hundred are lost. */
static uint32_t tag_errors_max(uint32_t tag_reliable)
{
    return (ones(tag_reliable) + 1) * TAG_ERRORS_PER_16 / 16;
}

WITH_POPCNT static uint32_t gather(const hk_media_segment_t *segment, const hk_media_budget_t *budget,
                                   const keyed_t *keys, const probe_t *probes, uint32_t probe_count,
                                   hk_media_candidate_t *candidates, hk_media_effort_t *effort)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < probe_count; n++) {
        if (n + 2 * PREFETCH_AHEAD < probe_count) {
            __builtin_prefetch(group_of(segment->directory, probes[n + 2 * PREFETCH_AHEAD].bucket));
        }
        if (n + PREFETCH_AHEAD < probe_count) {
            uint32_t ahead;
            const uint32_t at = look_up(segment->directory, probes[n + PREFETCH_AHEAD].bucket, &ahead);
            __builtin_prefetch(segment->postings + (size_t)at * HK_MEDIA_POSTING_HALVES);
        }
        uint32_t left;
        const uint32_t from = look_up(segment->directory, probes[n].bucket, &left);
        const uint16_t *posting = segment->postings + (size_t)from * HK_MEDIA_POSTING_HALVES;
        effort->probes++;
        effort->postings += left;
        const keyed_t *keyed = &keys[probes[n].keyed];
        const uint32_t tag = tag_of(keyed->key, segment->bucket_bits);
        const uint32_t tag_reliable = tag_of(keyed->reliable, segment->bucket_bits);
        const uint32_t errors_max = tag_errors_max(tag_reliable);
        for (; left > 0; left--, posting += HK_MEDIA_POSTING_HALVES) {
            if (ones((posting_tag(posting) ^ tag) & tag_reliable) > errors_max) {
                continue;
            }
            if (count == budget->candidates) {
                return count;
            }
            candidates[count++] = (hk_media_candidate_t){posting_word(posting), keyed->position};
        }
    }
    return count;
}

/* How the scratch memory of a search is divided. */
typedef struct {
    fixed_t *fixed;
    probe_t *unsorted;
    probe_t *sorted;
    hk_media_candidate_t *candidates;
} scratch_t;

static scratch_t divide(void *memory, const hk_media_budget_t *budget)
{
    scratch_t scratch = {.fixed = memory};
    scratch.unsorted = (probe_t *)(scratch.fixed + 1);
    scratch.sorted = scratch.unsorted + budget->probes;
    scratch.candidates = (hk_media_candidate_t *)(scratch.sorted + budget->probes);
    return scratch;
}

static bool is_searchable(const hk_media_query_t *query, uint32_t bucket_bits)
{
    return (query->per_word == 2 || query->per_word == 4) && bucket_bits <= HK_MEDIA_BUCKET_BITS_MAX;
}

int hk_media_list_probes(const hk_media_query_t *query, uint8_t bucket_bits, const hk_media_budget_t *budget,
                         void *memory, hk_media_probe_t *probes)
{
    if (!is_searchable(query, bucket_bits)) {
        return HK_ERROR_ARGUMENT;
    }
    const scratch_t scratch = divide(memory, budget);
    const uint32_t count =
        list_probes(query, bucket_bits, scratch.fixed, scratch.unsorted, scratch.sorted, budget->probes);
    for (uint32_t n = 0; n < count; n++) {
        const keyed_t *keyed = &scratch.fixed->keyed[scratch.sorted[n].keyed];
        probes[n] = (hk_media_probe_t){.bucket = scratch.sorted[n].bucket,
                                       .position = keyed->position,
                                       .tag = tag_of(keyed->key, bucket_bits),
                                       .tag_reliable = tag_of(keyed->reliable, bucket_bits),
                                       .errors_max = tag_errors_max(tag_of(keyed->reliable, bucket_bits))};
    }
    return (int)count;
}

/* Compares rows at the candidates whose lines are promising. Returns how many rows were kept. */
static uint32_t compare_candidates(const hk_media_segment_t *segment, const hk_media_query_t *query,
                                   const hk_media_candidate_t *candidates, uint32_t count, hk_media_place_t *places,
                                   uint32_t place_max, hk_media_effort_t *effort)
{
    uint32_t place_count = 0;
    for (uint32_t n = 0; n < count; n++) {
        if (n + PREFETCH_AHEAD < count) {
            __builtin_prefetch(segment->words + candidates[n + PREFETCH_AHEAD].word);
        }
        const uint32_t word = candidates[n].word;
        const uint32_t position = candidates[n].position;
        if (!is_promising(query, segment->words + (word & ~(uint32_t)LINE_MASK), word & LINE_MASK, position)) {
            continue;
        }
        const uint32_t row = row_of(segment, word);
        if (segment->removed != NULL && segment->removed[row]) {
            continue;
        }
        effort->compared_fully++;
        hk_media_place_t found;
        compare_fully(segment, query, row,
                      (int64_t)word - first_word_of(segment->starts, row) - position / query->per_word,
                      position % query->per_word, &found);
        if (found.compared >= query->min_bits) {
            hk_best_list_keep(&places_of_rows, places, place_max, &place_count, &found);
        }
    }
    return place_count;
}

int hk_media_search(const hk_media_segment_t *segment, const hk_media_query_t *query, const hk_media_budget_t *budget,
                    void *memory, hk_media_place_t *places, uint32_t place_max, hk_media_effort_t *effort)
{
    if (!is_searchable(query, segment->bucket_bits) || place_max == 0) {
        return HK_ERROR_ARGUMENT;
    }
    *effort = (hk_media_effort_t){0};
    const scratch_t scratch = divide(memory, budget);
    const uint32_t probe_count = list_probes(query, segment->bucket_bits, scratch.fixed, scratch.unsorted,
                                             scratch.sorted, budget->probes);
    const uint32_t count = gather(segment, budget, scratch.fixed->keyed, scratch.sorted, probe_count,
                                  scratch.candidates, effort);
    effort->candidates = count;
    return (int)compare_candidates(segment, query, scratch.candidates, count, places, place_max, effort);
}

int hk_media_compare(const hk_media_segment_t *segment, const hk_media_query_t *query,
                     const hk_media_candidate_t *candidates, uint32_t count, hk_media_place_t *places,
                     uint32_t place_max)
{
    if (!is_searchable(query, 0) || place_max == 0) {
        return HK_ERROR_ARGUMENT;
    }
    hk_media_effort_t effort = {0};
    return (int)compare_candidates(segment, query, candidates, count, places, place_max, &effort);
}

int hk_media_search_all(const hk_media_segment_t *segment, const hk_media_query_t *query, hk_media_place_t *places,
                        uint32_t place_max)
{
    if (!is_searchable(query, 0) || place_max == 0) {
        return HK_ERROR_ARGUMENT;
    }
    uint32_t count = 0;
    for (uint32_t row = 0; row < segment->rows; row++) {
        if (segment->removed != NULL && segment->removed[row]) {
            continue;
        }
        hk_media_place_t best = {.row = row};
        const int64_t length = end_word_of(segment->starts, row) - first_word_of(segment->starts, row);
        for (int64_t first = -(int64_t)(query->count / query->per_word); first < length; first++) {
            for (uint32_t phase = 0; phase < query->per_word; phase++) {
                hk_media_place_t found;
                compare_fully(segment, query, row, first, phase, &found);
                if (found.compared >= query->min_bits && worth_of(&found) > worth_of(&best)) {
                    best = found;
                }
            }
        }
        if (best.compared > 0) {
            hk_best_list_keep(&places_of_rows, places, place_max, &count, &best);
        }
    }
    return (int)count;
}
