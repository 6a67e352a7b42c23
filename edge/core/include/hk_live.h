/* Live scores, for whoever looks at the device's page just now: HK_LIVE_PER_SECOND a second, for HK_LIVE_SECONDS after
 * each request. No sound, and nothing that sound could be made of.
 *
 * A message that finds no room is not kept: the next one says the highest scores since the last that went.
 * Time is samples heard. The caller owns the struct (20 bytes). Not for use from an interrupt. */
#ifndef HK_LIVE_H
#define HK_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_messages.h"
#include "hk_tracker.h"

typedef struct {
    uint32_t until_step;
    uint32_t next_step; /* from when on a message is due */
    uint8_t peaks[HK_EVENT_COUNT]; /* since the last */
    bool is_on;
} hk_live_t;

/* Nobody looks. */
void hk_live_init(hk_live_t *live);

/* Somebody looks, for HK_LIVE_SECONDS from now. */
void hk_live_on(hk_live_t *live, uint64_t samples_heard);

/* Nobody looks any more. */
void hk_live_off(hk_live_t *live);

/* To be called after each step. Whether a message is due. */
bool hk_live_heard(hk_live_t *live, const hk_tracker_t *tracker, uint64_t samples_heard);

/* The message that is due; the next one begins. */
void hk_live_next(hk_live_t *live, const hk_tracker_t *tracker, uint64_t samples_heard, hk_live_scores_t *message);

#endif
