/* Finds, among the sounds of the last seconds, those that are the same one heard elsewhere. Host only: the cloud's
 * window of concurrent triggers.
 *
 * A sound is the words of a trigger, 40 ms apart, each with the mask of its reliable bits; both sides are noisy, so that
 * a bit counts only where both rely on it. Buckets, numbered by bits of a word as in hk_media_search.h, hold the newest
 * places only: what is heard everywhere fills its bucket many times over, and a few of those places are enough.
 *
 * The caller owns all memory, also that of the sounds: it stays where it is until the sound is forgotten or its slot is
 * taken. Sounds are numbered as they come; number n lies in slot n % slots. Searches may run at the same time (each with
 * scratch memory of its own), additions must not run beside anything. */
#ifndef HK_MEDIA_WINDOW_H
#define HK_MEDIA_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#define HK_WINDOW_WORDS_MAX 256
#define HK_WINDOW_BUCKET_PLACES 16
#define HK_WINDOW_BLOCK_WORDS 25 /* 1 s */
#define HK_WINDOW_BUCKET_BITS_MAX 22

typedef struct {
    uint32_t number; /* of the sound, from 1 on; 0: no place */
    uint32_t position;
} hk_window_posting_t;

typedef struct {
    const uint32_t *words;
    const uint32_t *masks; /* a mask of 0: the word is no evidence */
    uint32_t count;        /* at most HK_WINDOW_WORDS_MAX; 0: forgotten */
} hk_window_sound_t;

typedef struct {
    hk_window_posting_t *postings; /* HK_WINDOW_BUCKET_PLACES for each of 2^bucket_bits buckets, zeroed at first */
    uint8_t *next;                 /* a byte a bucket, zeroed at first: the place that is overwritten next */
    hk_window_sound_t *sounds;     /* one a slot, zeroed at first */
    uint32_t slots;
    uint8_t bucket_bits; /* up to HK_WINDOW_BUCKET_BITS_MAX: then a bucket is bits of one word alone */
} hk_window_t;

/* How two sounds agree. */
typedef struct {
    uint32_t number;        /* of the other sound */
    int32_t offset;         /* word n of this one lies at word n + offset of the other */
    uint32_t words;         /* in which bits were compared */
    uint32_t compared;      /* bits that both rely on */
    uint32_t agreeing;      /* of them */
    uint32_t rest_compared; /* the same without the second that speaks most for a match */
    uint32_t rest_agreeing;
} hk_window_match_t;

/* How much is looked at. sample_shift: of all buckets, one in 2^sample_shift counts, the same ones for every sound. */
typedef struct {
    uint32_t probes;
    uint32_t candidates;
    uint32_t sample_shift;
    uint32_t min_bits;
    uint32_t oldest; /* sounds of lower numbers are forgotten */
} hk_window_budget_t;

/* Keeps a sound under a number (at least 1). Returns 0 or HK_ERROR_ARGUMENT. */
int hk_window_add(hk_window_t *window, uint32_t number, const hk_window_sound_t *sound, uint32_t sample_shift);

/* Forgets the sound that was last kept in this number's slot: its memory is the caller's again. */
void hk_window_forget(hk_window_t *window, uint32_t number);

/* Bytes of scratch memory, aligned to 8 and zeroed at first, that a search within this budget needs. Each search leaves
 * it as it found it, so that it serves the next one without being cleared: it is half a megabyte. */
size_t hk_window_find_bytes(const hk_window_budget_t *budget);

/* Finds sounds that agree with this one, best first; `own` is left out. matches: room for budget->candidates.
 * Returns how many, or HK_ERROR_ARGUMENT. */
int hk_window_find(const hk_window_t *window, const hk_window_sound_t *sound, uint32_t own,
                   const hk_window_budget_t *budget, void *scratch, hk_window_match_t *matches);

/* How two sounds agree at the best offset from `from` to `to`: the largest (agreeing - differing) / sqrt(compared).
 * *best: all 0 but number where nowhere min_bits can be compared. Returns 0 or HK_ERROR_ARGUMENT. */
int hk_window_compare(const hk_window_sound_t *one, const hk_window_sound_t *other, int32_t from, int32_t to,
                      uint32_t min_bits, hk_window_match_t *best);

#endif
