#include "hk_media_window.h"

#include <stdbool.h>

#include "hk_best_list.h"
#include "hk_error.h"
#include "hk_media_search.h"

enum {
    VOTES_LOG2 = 16,
    VOTES = 1 << VOTES_LOG2,
    VOTES_FULL = VOTES / 4 * 3,
    BLOCKS_MAX = HK_WINDOW_WORDS_MAX / HK_WINDOW_BLOCK_WORDS + 1,
    NEAR_WORDS = 1, /* the two grids differ by half a word at most, and smoothing moves the best place */
    STEPS_PER_WORD = 2,
};

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__)
#define WITH_POPCNT __attribute__((target_clones("popcnt", "default")))
#else
#define WITH_POPCNT
#endif

typedef struct {
    uint32_t number; /* 0: free */
    int16_t offset;
    uint16_t votes;
} vote_t;

typedef struct {
    vote_t votes[VOTES];
    uint32_t used[VOTES_FULL];
} ballot_t;

_Static_assert(HK_WINDOW_WORDS_MAX <= INT16_MAX, "offsets fit 16 bits");
_Static_assert(HK_WINDOW_BUCKET_BITS_MAX <= HK_MEDIA_BUCKET_BITS_MAX, "buckets are those of hk_media_search");

static bool is_sampled(uint32_t bucket, uint32_t shift)
{
    return shift == 0 || (bucket * 2654435761u) >> (32u - shift) == 0; /* multiplicative hash, Knuth */
}

static bool is_sound(const hk_window_sound_t *sound)
{
    return sound->count > 0 && sound->count <= HK_WINDOW_WORDS_MAX;
}

int hk_window_add(hk_window_t *window, uint32_t number, const hk_window_sound_t *sound, uint32_t sample_shift)
{
    if (number == 0 || !is_sound(sound) || window->bucket_bits > HK_WINDOW_BUCKET_BITS_MAX || sample_shift > 31) {
        return HK_ERROR_ARGUMENT;
    }
    window->sounds[number % window->slots] = *sound;
    for (uint32_t n = 0; n < sound->count; n++) {
        if (sound->masks[n] == 0) {
            continue;
        }
        const uint32_t bucket = (uint32_t)(hk_media_key(sound->words[n], 0, window->bucket_bits) >> HK_MEDIA_TAG_BITS);
        if (!is_sampled(bucket, sample_shift)) {
            continue;
        }
        hk_window_posting_t *places = window->postings + (size_t)bucket * HK_WINDOW_BUCKET_PLACES;
        places[window->next[bucket]] = (hk_window_posting_t){number, n};
        window->next[bucket] = (uint8_t)((window->next[bucket] + 1u) % HK_WINDOW_BUCKET_PLACES);
    }
    return HK_OK;
}

void hk_window_forget(hk_window_t *window, uint32_t number)
{
    window->sounds[number % window->slots] = (hk_window_sound_t){0};
}

static inline uint32_t ones(uint32_t value)
{
    return (uint32_t)__builtin_popcount(value);
}

static uint32_t identity_of(const void *item)
{
    return ((const hk_window_match_t *)item)->number;
}

static double worth_of(const void *item)
{
    const hk_window_match_t *match = item;
    return hk_agreement(match->compared, match->agreeing);
}

static const hk_best_list_kind_t matches_of_sounds = {sizeof(hk_window_match_t), identity_of, worth_of};

/* Fills *found for one offset. */
WITH_POPCNT static void compare_at(const hk_window_sound_t *one, const hk_window_sound_t *other, int32_t offset,
                                   hk_window_match_t *found)
{
    const int32_t first = offset < 0 ? -offset : 0;
    const int32_t room = (int32_t)other->count - offset;
    const int32_t end = room < (int32_t)one->count ? room : (int32_t)one->count;
    uint32_t compared[BLOCKS_MAX] = {0};
    uint32_t agreeing[BLOCKS_MAX] = {0};
    *found = (hk_window_match_t){.number = found->number, .offset = offset};
    uint32_t blocks = 0;
    for (int32_t from = first; from < end; from += HK_WINDOW_BLOCK_WORDS, blocks++) {
        const int32_t until = from + HK_WINDOW_BLOCK_WORDS < end ? from + HK_WINDOW_BLOCK_WORDS : end;
        for (int32_t n = from; n < until; n++) {
            const uint32_t mask = one->masks[n] & other->masks[n + offset];
            const uint32_t bits = ones(mask);
            compared[blocks] += bits;
            agreeing[blocks] += ones(~(one->words[n] ^ other->words[n + offset]) & mask);
            found->words += bits > 0;
        }
        found->compared += compared[blocks];
        found->agreeing += agreeing[blocks];
    }
    found->rest_compared = found->compared;
    found->rest_agreeing = found->agreeing;
    for (uint32_t block = 0; block < blocks; block++) {
        const uint32_t rest_compared = found->compared - compared[block];
        const uint32_t rest_agreeing = found->agreeing - agreeing[block];
        if (hk_agreement(rest_compared, rest_agreeing) < hk_agreement(found->rest_compared, found->rest_agreeing)) {
            found->rest_compared = rest_compared;
            found->rest_agreeing = rest_agreeing;
        }
    }
}

int hk_window_compare(const hk_window_sound_t *one, const hk_window_sound_t *other, int32_t from, int32_t to,
                      uint32_t min_bits, hk_window_match_t *best)
{
    if (!is_sound(one) || !is_sound(other) || min_bits == 0) {
        return HK_ERROR_ARGUMENT;
    }
    hk_window_match_t found = {.number = best->number};
    *best = found;
    for (int32_t offset = from; offset <= to; offset++) {
        compare_at(one, other, offset, &found);
        if (found.compared >= min_bits && worth_of(&found) > worth_of(best)) {
            *best = found;
        }
    }
    return HK_OK;
}

size_t hk_window_find_bytes(const hk_window_budget_t *budget)
{
    const hk_media_budget_t of_keys = {.probes = budget->probes};
    return sizeof(ballot_t) + budget->probes * sizeof(hk_media_probe_t) + hk_media_search_bytes(&of_keys) + 8;
}

/* Counts a vote for a place; returns false when no more places fit. */
static bool vote(ballot_t *ballot, uint32_t *used, uint32_t number, int32_t offset)
{
    uint32_t at = (number * 2654435761u ^ (uint32_t)(offset + HK_WINDOW_WORDS_MAX) * 2246822519u) >> (32 - VOTES_LOG2);
    vote_t *votes = ballot->votes;
    while (votes[at].number != 0 && (votes[at].number != number || votes[at].offset != offset)) {
        at = (at + 1) % VOTES;
    }
    if (votes[at].number == 0) {
        if (*used == VOTES_FULL) {
            return false;
        }
        votes[at].number = number;
        votes[at].offset = (int16_t)offset;
        ballot->used[(*used)++] = at;
    }
    if (votes[at].votes < UINT16_MAX) {
        votes[at].votes++;
    }
    return true;
}

/* The votes that a place must have so that at most `most` places remain. */
static uint32_t least_votes(const ballot_t *ballot, uint32_t used, uint32_t most)
{
    enum { MOST_VOTES = 64 };
    uint32_t with[MOST_VOTES + 1] = {0};
    for (uint32_t n = 0; n < used; n++) {
        const uint32_t votes = ballot->votes[ballot->used[n]].votes;
        with[votes < MOST_VOTES ? votes : MOST_VOTES]++;
    }
    uint32_t least = MOST_VOTES + 1;
    for (uint32_t sum = 0; least > 1 && sum + with[least - 1] <= most; least--) {
        sum += with[least - 1];
    }
    return least > MOST_VOTES ? MOST_VOTES : least;
}

int hk_window_find(const hk_window_t *window, const hk_window_sound_t *sound, uint32_t own,
                   const hk_window_budget_t *budget, void *scratch, hk_window_match_t *matches)
{
    if (!is_sound(sound) || window->bucket_bits > HK_WINDOW_BUCKET_BITS_MAX || budget->sample_shift > 31
        || budget->candidates == 0 || budget->min_bits == 0) {
        return HK_ERROR_ARGUMENT;
    }
    ballot_t *ballot = scratch;
    uint8_t *of_keys = (uint8_t *)(ballot + 1);
    const hk_media_budget_t key_budget = {.probes = budget->probes};
    hk_media_probe_t *probes = (hk_media_probe_t *)(of_keys + (hk_media_search_bytes(&key_budget) + 7) / 8 * 8);
    const hk_media_query_t query = {sound->words, sound->masks, sound->count, STEPS_PER_WORD, budget->min_bits};
    const int probe_count = hk_media_list_probes(&query, window->bucket_bits, &key_budget, of_keys, probes);
    uint32_t used = 0;
    bool has_room = true;
    for (int n = 0; n < probe_count && has_room; n++) {
        if (!is_sampled(probes[n].bucket, budget->sample_shift)) {
            continue;
        }
        const hk_window_posting_t *places = window->postings + (size_t)probes[n].bucket * HK_WINDOW_BUCKET_PLACES;
        for (uint32_t at = 0; at < HK_WINDOW_BUCKET_PLACES && has_room; at++) {
            const uint32_t number = places[at].number;
            if (number != 0 && number >= budget->oldest && number != own) {
                has_room = vote(ballot, &used, number, (int32_t)places[at].position - (int32_t)probes[n].position);
            }
        }
    }
    const uint32_t least = least_votes(ballot, used, budget->candidates);
    uint32_t count = 0;
    uint32_t looked_at = 0;
    for (uint32_t n = 0; n < used && looked_at < budget->candidates; n++) {
        const vote_t *place = &ballot->votes[ballot->used[n]];
        const hk_window_sound_t *other = &window->sounds[place->number % window->slots];
        if (place->votes < least || other->count == 0) {
            continue;
        }
        looked_at++;
        hk_window_match_t found = {.number = place->number};
        hk_window_compare(sound, other, place->offset - NEAR_WORDS, place->offset + NEAR_WORDS, budget->min_bits,
                          &found);
        if (found.compared > 0) {
            hk_best_list_keep(&matches_of_sounds, matches, budget->candidates, &count, &found);
        }
    }
    for (uint32_t n = 0; n < used; n++) {
        ballot->votes[ballot->used[n]] = (vote_t){0};
    }
    return (int)count;
}
