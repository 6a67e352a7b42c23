#include "hk_clip_slot.h"

#include <string.h>

#include "hk_error.h"

#define BEFORE_SAMPLES (HK_CLIP_BEFORE_TRIGGER_SECONDS * HK_SAMPLE_RATE_HZ)
#define AFTER_SAMPLES (HK_CLIP_AFTER_TRIGGER_SECONDS * HK_SAMPLE_RATE_HZ)

_Static_assert(HK_EVENT_ID_BYTES == 16, "the schema fixes the size of an event id");

void hk_clip_slot_init(hk_clip_slot_t *slot)
{
    memset(slot, 0, sizeof *slot);
}

static bool is_of(const hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    return slot->state != HK_CLIP_SLOT_EMPTY && memcmp(slot->event_id, event_id, HK_EVENT_ID_BYTES) == 0;
}

int hk_clip_slot_claim(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t trigger_sample,
                       bool is_safety, bool is_wanted, bool *displaced)
{
    const bool is_on_its_way = slot->state == HK_CLIP_SLOT_SENDING || slot->state == HK_CLIP_SLOT_SENT;
    const bool is_taken = slot->state != HK_CLIP_SLOT_EMPTY;
    *displaced = false;
    if (is_taken && (is_on_its_way || slot->is_safety || !is_safety)) {
        return HK_ERROR_FULL;
    }
    *displaced = is_taken;
    memcpy(slot->event_id, event_id, HK_EVENT_ID_BYTES);
    slot->state = HK_CLIP_SLOT_CAPTURING;
    slot->is_safety = is_safety;
    slot->is_wanted = is_wanted;
    slot->is_unwanted = false;
    slot->trigger_sample = trigger_sample;
    return 0;
}

static void capture(hk_clip_slot_t *slot, const hk_clip_ring_t *ring)
{
    const uint64_t from = slot->trigger_sample > BEFORE_SAMPLES ? slot->trigger_sample - BEFORE_SAMPLES : 0;
    const int status = hk_clip_ring_cut(ring, from, slot->trigger_sample + AFTER_SAMPLES, slot->data,
                                        sizeof slot->data, &slot->clip);
    slot->patience_sample = slot->trigger_sample + HK_CLIP_PATIENCE_SAMPLES;
    slot->tries = 0;
    if (status != 0 || slot->is_unwanted) {
        slot->state = HK_CLIP_SLOT_EMPTY;
    } else {
        slot->state = slot->is_wanted ? HK_CLIP_SLOT_READY : HK_CLIP_SLOT_HELD;
    }
}

int hk_clip_slot_update(hk_clip_slot_t *slot, const hk_clip_ring_t *ring, uint64_t samples_heard)
{
    if (slot->state == HK_CLIP_SLOT_CAPTURING && samples_heard >= slot->trigger_sample + AFTER_SAMPLES) {
        capture(slot, ring);
    }
    const bool is_in_vain = slot->state == HK_CLIP_SLOT_SENT && slot->tries >= HK_CLIP_TRIES;
    if ((slot->state != HK_CLIP_SLOT_HELD && !is_in_vain) || samples_heard < slot->patience_sample) {
        return 0;
    }
    slot->state = HK_CLIP_SLOT_EMPTY;
    return 1;
}

int hk_clip_slot_request(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    if (!is_of(slot, event_id)) {
        return HK_ERROR_NOT_FOUND;
    }
    slot->is_wanted = true;
    slot->is_unwanted = false;
    if (slot->state == HK_CLIP_SLOT_HELD) {
        slot->state = HK_CLIP_SLOT_READY;
    }
    return 0;
}

int hk_clip_slot_discard(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    if (!is_of(slot, event_id)) {
        return HK_ERROR_NOT_FOUND;
    }
    switch (slot->state) {
    case HK_CLIP_SLOT_HELD:
    case HK_CLIP_SLOT_READY:
    case HK_CLIP_SLOT_SENT:
        slot->state = HK_CLIP_SLOT_EMPTY;
        break;
    case HK_CLIP_SLOT_CAPTURING:
    case HK_CLIP_SLOT_SENDING:
        slot->is_unwanted = true;
        break;
    case HK_CLIP_SLOT_EMPTY:
        break;
    }
    return 0;
}

int hk_clip_slot_settle(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    if (!is_of(slot, event_id)) {
        return HK_ERROR_NOT_FOUND;
    }
    return slot->is_wanted ? 0 : hk_clip_slot_discard(slot, event_id);
}

int hk_clip_slot_receipt(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    if (!is_of(slot, event_id)) {
        return HK_ERROR_NOT_FOUND;
    }
    if (slot->state == HK_CLIP_SLOT_SENDING) {
        slot->is_unwanted = true; /* the cloud has it from an earlier try; this one ends by itself */
    } else if (slot->state != HK_CLIP_SLOT_CAPTURING) {
        slot->state = HK_CLIP_SLOT_EMPTY;
    }
    return 0;
}

void hk_clip_slot_mark_sending(hk_clip_slot_t *slot)
{
    slot->state = HK_CLIP_SLOT_SENDING;
    slot->tries++;
}

void hk_clip_slot_mark_sent(hk_clip_slot_t *slot)
{
    slot->state = slot->is_unwanted ? HK_CLIP_SLOT_EMPTY : HK_CLIP_SLOT_SENT;
}

void hk_clip_slot_send_again(hk_clip_slot_t *slot)
{
    if (slot->state == HK_CLIP_SLOT_SENDING || slot->state == HK_CLIP_SLOT_SENT) {
        slot->state = slot->is_unwanted ? HK_CLIP_SLOT_EMPTY : HK_CLIP_SLOT_READY;
    }
}

bool hk_clip_slot_is_pending(const hk_clip_slot_t *slot)
{
    return slot->state != HK_CLIP_SLOT_EMPTY && slot->state != HK_CLIP_SLOT_CAPTURING;
}
