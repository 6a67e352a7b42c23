/* One clip that an owner asked for: first it is shown, then recorded.
 *
 * From the moment of asking on the device shows it (hk_asked_clip_is_shown: a lamp, a line), and only what sounds after
 * that goes into the clip: four seconds, as any other clip. What may be misused to listen in has bounds of its own: one
 * clip in HK_ASKED_CLIP_REST_SECONDS, and the same request twice is one.
 *
 * It takes the clip slot when that is free, waits up to HK_ASKED_CLIP_WAIT_SECONDS for it, and gives it up to any event
 * (hk_clip_slot_ask). Time is samples heard. The caller owns the struct (32 bytes). Not for use from an interrupt. */
#ifndef HK_ASKED_CLIP_H
#define HK_ASKED_CLIP_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_clip_slot.h"

#define HK_ASKED_CLIP_WAIT_SECONDS 10u
/* So long the lamp is on at least, and until two seconds after the recording ends: long enough to be seen. */
#define HK_ASKED_CLIP_SHOWN_SECONDS 6u

typedef struct {
    uint8_t event_id[HK_EVENT_ID_BYTES]; /* of the last one */
    uint32_t asked_step;
    uint32_t shown_until_step;
    bool was_asked; /* ever */
    bool is_waiting; /* for its first two seconds, and for the slot */
} hk_asked_clip_t;

/* Nothing was asked for. */
void hk_asked_clip_init(hk_asked_clip_t *asked);

/* The owner asks. Whether it will be done: not a second time for the same event id, nor before the device has rested. */
bool hk_asked_clip_take(hk_asked_clip_t *asked, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t samples_heard);

/* To be called after each step, before hk_clip_slot_update: claims the slot when it is time. */
void hk_asked_clip_heard(hk_asked_clip_t *asked, hk_clip_slot_t *slot, uint64_t samples_heard);

/* Whether it is to be shown now. */
bool hk_asked_clip_is_shown(const hk_asked_clip_t *asked, uint64_t samples_heard);

#endif
