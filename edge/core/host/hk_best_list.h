/* A list of what agrees best, best first, each identity once, and the measure by which it is ranked. Host only. */
#ifndef HK_BEST_LIST_H
#define HK_BEST_LIST_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* What a list holds of its items: the caller's structs. */
typedef struct {
    size_t bytes;                           /* of one */
    uint32_t (*identity)(const void *item); /* of two with the same one the better stays */
    double (*worth)(const void *item);      /* the larger, the better */
} hk_best_list_kind_t;

/* Keeps an item in `items`, which has room for `most` (at least 1) and holds *count; a full list loses its last. */
void hk_best_list_keep(const hk_best_list_kind_t *kind, void *items, uint32_t most, uint32_t *count,
                       const void *found);

/* How unlikely by chance it is that so many of the compared bits agree: (agreeing - differing) squared, with its sign, over
 * their number; 0 where none were compared. */
static inline double hk_agreement(uint32_t compared, uint32_t agreeing)
{
    const double excess = 2.0 * agreeing - compared;
    return compared == 0 ? 0 : excess * fabs(excess) / compared;
}

#endif
