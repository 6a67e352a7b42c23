/* The one clip that a device keeps for the cloud: whose it is, whether it is wanted, and its audio.
 *
 * A clip is claimed at its trigger, captured when the last of its audio has been heard, held or sent, and freed when
 * the cloud has settled it. There is room for one: RAM holds the running ring and one copy of it. A safety event takes
 * the slot from one that is not, as long as that one is not on its way; otherwise the later event goes without a clip.
 *
 * What the cloud says before the capture is remembered and takes effect at the capture. So whether a later event finds
 * the slot free depends on the audio alone, not on how fast the cloud answers.
 *
 * The caller owns the slot. Times are samples heard. */
#ifndef HK_CLIP_SLOT_H
#define HK_CLIP_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_clip_ring.h"
#include "hk_limits.h"

/* After this long a held clip that nobody asked for is given up, and so is one that was sent in vain. */
#define HK_CLIP_PATIENCE_SAMPLES (60u * HK_SAMPLE_RATE_HZ)
/* A clip that was sent so often without a receipt may be given up: the cloud does not want it. */
#define HK_CLIP_TRIES 3u

typedef enum {
    HK_CLIP_SLOT_EMPTY = 0,
    HK_CLIP_SLOT_CAPTURING, /* claimed; its audio is still being heard */
    HK_CLIP_SLOT_HELD,      /* captured; the cloud may ask for it */
    HK_CLIP_SLOT_READY,     /* captured and wanted */
    HK_CLIP_SLOT_SENDING,   /* its bytes are being read: must not change */
    HK_CLIP_SLOT_SENT,      /* handed to the broker; the cloud's receipt is awaited */
} hk_clip_slot_state_t;

typedef struct {
    hk_clip_slot_state_t state;
    uint8_t event_id[HK_EVENT_ID_BYTES];
    bool is_safety;
    bool is_wanted;   /* policy "always", or asked for */
    bool is_unwanted; /* settled before it was captured or while it was being sent */
    uint8_t tries;
    uint64_t trigger_sample;
    uint64_t patience_sample; /* when the cloud has had its time */
    hk_clip_cut_t clip;           /* from the capture on, as is `data` */
    uint8_t data[HK_CLIP_DATA_BYTES];
} hk_clip_slot_t;

/* Empties the slot. */
void hk_clip_slot_init(hk_clip_slot_t *slot);

/* Claims the slot for the event that triggered at `trigger_sample`. `is_wanted`: send it without being asked.
 * Returns 0, with *displaced telling whether another event lost its clip, or HK_ERROR_FULL. */
int hk_clip_slot_claim(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t trigger_sample,
                       bool is_safety, bool is_wanted, bool *displaced);

/* To be called after each step: captures what is due and gives up what the cloud does not want.
 * Returns 1 when a clip was given up, else 0. */
int hk_clip_slot_update(hk_clip_slot_t *slot, const hk_clip_ring_t *ring, uint64_t samples_heard);

/* The cloud asks for the clip: HELD becomes READY. 0, or HK_ERROR_NOT_FOUND when it is not (or no longer) here. */
int hk_clip_slot_request(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* The cloud has judged the event: a clip that nobody has asked for is freed. 0 or HK_ERROR_NOT_FOUND. */
int hk_clip_slot_settle(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* Nobody needs audio of this event: its clip is freed, wanted or not. 0 or HK_ERROR_NOT_FOUND. */
int hk_clip_slot_discard(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* The cloud has stored the clip: the slot is freed. 0 or HK_ERROR_NOT_FOUND. */
int hk_clip_slot_receipt(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* The sender took up a READY clip (its data is read from now on), or handed all of it over. */
void hk_clip_slot_mark_sending(hk_clip_slot_t *slot);
void hk_clip_slot_mark_sent(hk_clip_slot_t *slot);

/* The connection was lost, or the receipt is overdue: what has none is READY again. */
void hk_clip_slot_send_again(hk_clip_slot_t *slot);

/* Whether a captured clip waits for the cloud. */
bool hk_clip_slot_is_pending(const hk_clip_slot_t *slot);

#endif
