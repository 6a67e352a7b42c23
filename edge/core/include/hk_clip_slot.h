/* The one stretch of audio that a device keeps for the cloud, and the events that share it.
 *
 * The first event claims the slot; its window is the four seconds around its trigger. An event that triggers while the
 * window is still being heard joins as a further owner: same audio, own trigger. The first safety event to join moves
 * the window, which then ends two seconds after its trigger; the earlier triggers are at most two seconds older, so
 * they still lie inside. The audio is captured when the window has been heard, and does not change from then on.
 *
 * Each owner is then asked for, sent, receipted and given up on its own, safety events first, one at a time. The slot
 * is empty when the last owner is done. Until then an event that comes after the capture goes without a clip, except
 * that a safety event takes the slot from owners of which none is one and none is on its way: RAM holds the running
 * ring and one copy of it.
 *
 * A clip that a person asked for costs no event anything: it takes the slot only when that is empty. The first event to
 * join while its window is heard moves the window to its own trigger; one that comes later takes the slot over. If the
 * audio is just being read then, the rest of what is read is silence (hk_clip_slot_read).
 *
 * What the cloud says of events before the capture is remembered and takes effect at the capture. So who shares the window, and
 * where it lies, depends on the audio alone, not on how fast the cloud answers.
 *
 * The caller owns the slot (about 33 KB). Times are samples heard. Not for use from an interrupt. */
#ifndef HK_CLIP_SLOT_H
#define HK_CLIP_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_clip_ring.h"
#include "hk_limits.h"

/* Events that may share the audio: as many as sound within two seconds in a home, and it is 32 bytes each. */
#define HK_CLIP_SLOT_OWNERS 4u
/* So long after its trigger an owner that nobody asked for is given up, and so is one that was sent in vain. */
#define HK_CLIP_PATIENCE_SAMPLES (60u * HK_SAMPLE_RATE_HZ)
/* A clip that was sent so often without a receipt may be given up: the cloud does not want it. */
#define HK_CLIP_TRIES 3u

typedef enum {
    HK_CLIP_OWNER_NONE = 0,  /* a free place */
    HK_CLIP_OWNER_CAPTURING, /* its audio is still being heard */
    HK_CLIP_OWNER_HELD,      /* captured; the cloud may ask for it */
    HK_CLIP_OWNER_READY,     /* captured and wanted */
    HK_CLIP_OWNER_SENDING,   /* the audio is being read: must not change. One owner at a time */
    HK_CLIP_OWNER_SENT,      /* handed to the broker; the cloud's receipt is awaited */
} hk_clip_owner_state_t;

/* An event that the audio belongs to. */
typedef struct {
    uint64_t trigger_sample;
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint8_t state; /* hk_clip_owner_state_t */
    bool is_safety;
    bool is_wanted;   /* policy "always", or asked for */
    bool is_unwanted; /* settled before it was captured or while it was being sent */
    uint8_t tries;    /* of sending it, up to HK_CLIP_TRIES */
    bool is_asked;    /* its owner's wish, no event */
} hk_clip_owner_t;

typedef struct {
    hk_clip_owner_t owners[HK_CLIP_SLOT_OWNERS];
    uint64_t window_trigger_sample; /* the trigger that the window lies around, while there is an owner */
    hk_clip_cut_t clip;             /* from the capture on, as is `data` */
    uint8_t data[HK_CLIP_DATA_BYTES];
} hk_clip_slot_t;

_Static_assert(sizeof(hk_clip_owner_t) <= 32, "four owners must fit what a small board's RAM has left");

/* Empties the slot. */
void hk_clip_slot_init(hk_clip_slot_t *slot);

/* Makes the event that triggered at `trigger_sample` an owner, before hk_clip_slot_update for the step of its trigger.
 * Event ids are unique, and triggers come in the order of their time. `is_wanted`: send it without being asked. Where
 * every place is taken while the window is heard, a safety event takes that of the oldest one that is none.
 * Returns 0, with *displaced counting the events that lost their clip for it, or HK_ERROR_FULL (*displaced is 0). */
int hk_clip_slot_claim(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t trigger_sample,
                       bool is_safety, bool is_wanted, uint8_t *displaced);

/* Makes a clip that its owner asked for an owner of the audio around `trigger_sample`, to be sent when it is captured.
 * Returns 0, or HK_ERROR_FULL unless the slot is empty: it shares the window of no event, which begins before. */
int hk_clip_slot_ask(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t trigger_sample);

/* To be called after each step: captures what is due and gives up owners that the cloud does not want.
 * Returns how many were given up, 0 .. HK_CLIP_SLOT_OWNERS. */
int hk_clip_slot_update(hk_clip_slot_t *slot, const hk_clip_ring_t *ring, uint64_t samples_heard);

/* The cloud asks for the event's clip: HELD becomes READY. 0, or HK_ERROR_NOT_FOUND when the event owns none (any
 * more). */
int hk_clip_slot_request(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* The cloud has judged the event: it owns the audio no longer, unless it is wanted. 0 or HK_ERROR_NOT_FOUND. */
int hk_clip_slot_settle(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* Nobody needs audio of this event: it owns the audio no longer, wanted or not. 0 or HK_ERROR_NOT_FOUND. */
int hk_clip_slot_discard(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* The cloud has stored the event's clip: the owner is done. 0 or HK_ERROR_NOT_FOUND. */
int hk_clip_slot_receipt(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* The owner to send next: safety events first, what was asked for last, then the oldest trigger. NULL when none is READY or while one is
 * SENDING. It stays the slot's, and valid until the next call that changes the slot. */
const hk_clip_owner_t *hk_clip_slot_next_to_send(const hk_clip_slot_t *slot);

/* The sender took up the READY owner of this event (the audio is read from now on): 0 or HK_ERROR_STATE. */
int hk_clip_slot_mark_sending(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* Copies `n` bytes of the clip that is SENDING, from `offset` on. Once nobody wants it any more they are zeros, which
 * decode to silence: its place may be another's by then. */
void hk_clip_slot_read(const hk_clip_slot_t *slot, size_t offset, uint8_t *out, size_t n);

/* All of the clip that was SENDING has been handed over. */
void hk_clip_slot_mark_sent(hk_clip_slot_t *slot);

/* The connection was lost: nothing is read any more, and what has no receipt is READY again. */
void hk_clip_slot_disconnected(hk_clip_slot_t *slot);

/* Receipts are overdue: what is SENT is READY again. One that is SENDING stays so: it is still being read. */
void hk_clip_slot_send_again(hk_clip_slot_t *slot);

/* Whether all that is wanted has gone out and a receipt is awaited. */
bool hk_clip_slot_is_awaiting_receipt(const hk_clip_slot_t *slot);

/* How many captured clips wait for the cloud, 0 .. HK_CLIP_SLOT_OWNERS. */
uint8_t hk_clip_slot_pending(const hk_clip_slot_t *slot);

#endif
