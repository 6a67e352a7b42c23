/* Sound that comes in pieces of any length, gathered to whole steps.
 *
 * The caller owns the struct; all zero is empty. When a step is whole, hear it and set `fill` to 0. */
#ifndef HK_STEP_H
#define HK_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_frontend.h"

typedef struct {
    int16_t pcm[HK_STEP_SAMPLES];
    uint16_t fill; /* samples that are there */
} hk_step_t;

static inline size_t hk_step_room(const hk_step_t *step)
{
    return HK_STEP_SAMPLES - (size_t)step->fill;
}

static inline bool hk_step_is_whole(const hk_step_t *step)
{
    return step->fill == HK_STEP_SAMPLES;
}

/* Takes of `n` samples what there is room for, and returns how many those are. */
size_t hk_step_take(hk_step_t *step, const int16_t *pcm, size_t n);

#endif
