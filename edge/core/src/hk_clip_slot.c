#include "hk_clip_slot.h"

#include <string.h>

#include "hk_error.h"

#define BEFORE_SAMPLES (HK_CLIP_BEFORE_TRIGGER_SECONDS * HK_SAMPLE_RATE_HZ)
#define AFTER_SAMPLES (HK_CLIP_AFTER_TRIGGER_SECONDS * HK_SAMPLE_RATE_HZ)

_Static_assert(HK_EVENT_ID_BYTES == 16, "the schema fixes the size of an event id");
_Static_assert(AFTER_SAMPLES <= BEFORE_SAMPLES,
               "a trigger that came in while another's window was heard lies in the window that the later one moves");

void hk_clip_slot_init(hk_clip_slot_t *slot)
{
    memset(slot, 0, sizeof *slot);
}

/* --- Owners --- */

static bool is_on_its_way(const hk_clip_owner_t *owner)
{
    return owner->state == HK_CLIP_OWNER_SENDING || owner->state == HK_CLIP_OWNER_SENT;
}

static bool any_in_state(const hk_clip_slot_t *slot, hk_clip_owner_state_t state)
{
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        if (slot->owners[i].state == state) {
            return true;
        }
    }
    return false;
}

static bool is_empty(const hk_clip_slot_t *slot)
{
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        if (slot->owners[i].state != HK_CLIP_OWNER_NONE) {
            return false;
        }
    }
    return true;
}

static hk_clip_owner_t *find(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        hk_clip_owner_t *owner = &slot->owners[i];
        if (owner->state != HK_CLIP_OWNER_NONE && memcmp(owner->event_id, event_id, HK_EVENT_ID_BYTES) == 0) {
            return owner;
        }
    }
    return NULL;
}

static void fill(hk_clip_owner_t *owner, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t trigger_sample,
                 bool is_safety, bool is_wanted)
{
    *owner = (hk_clip_owner_t){
        .trigger_sample = trigger_sample,
        .state = HK_CLIP_OWNER_CAPTURING,
        .is_safety = is_safety,
        .is_wanted = is_wanted,
    };
    memcpy(owner->event_id, event_id, HK_EVENT_ID_BYTES);
}

/* Safety events, other events, what was asked for. */
static int rank(const hk_clip_owner_t *owner)
{
    return owner->is_safety ? 2 : !owner->is_asked;
}

/* Where one more owner of a rank goes: a free place, or that of the oldest of a lower one. NULL: nowhere. */
static hk_clip_owner_t *find_place(hk_clip_slot_t *slot, int wanted_rank)
{
    hk_clip_owner_t *oldest = NULL;
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        hk_clip_owner_t *owner = &slot->owners[i];
        if (owner->state == HK_CLIP_OWNER_NONE) {
            return owner;
        }
        const bool is_before = oldest == NULL || rank(owner) < rank(oldest)
                               || (rank(owner) == rank(oldest) && owner->trigger_sample < oldest->trigger_sample);
        if (rank(owner) < wanted_rank && is_before) {
            oldest = owner;
        }
    }
    return oldest;
}

/* --- Claiming and capturing --- */

/* Whether the window of an owner whose audio is still being heard holds this sample, too. */
static bool is_shared(const hk_clip_slot_t *slot, uint64_t trigger_sample)
{
    return any_in_state(slot, HK_CLIP_OWNER_CAPTURING) && trigger_sample >= slot->window_trigger_sample
           && trigger_sample - slot->window_trigger_sample <= AFTER_SAMPLES;
}

/* Empties the slot for an event. What is just being read stays until that is done, and goes then. */
static void clear(hk_clip_slot_t *slot)
{
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        hk_clip_owner_t *owner = &slot->owners[i];
        if (owner->state == HK_CLIP_OWNER_SENDING) {
            owner->is_unwanted = true;
        } else {
            owner->state = HK_CLIP_OWNER_NONE;
        }
    }
}

/* Nothing here may depend on what the cloud has said of events so far: not is_wanted, not is_unwanted. */
int hk_clip_slot_claim(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t trigger_sample,
                       bool is_safety, bool is_wanted, uint8_t *displaced)
{
    uint8_t owned = 0;
    bool has_safety = false;
    bool is_busy = false;
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        const hk_clip_owner_t *owner = &slot->owners[i];
        if (owner->state != HK_CLIP_OWNER_NONE && !owner->is_asked) {
            owned++;
            has_safety = has_safety || owner->is_safety;
            is_busy = is_busy || is_on_its_way(owner);
        }
    }
    *displaced = 0;
    if (is_shared(slot, trigger_sample)) {
        hk_clip_owner_t *place = find_place(slot, is_safety ? 2 : 1);
        if (place == NULL) {
            return HK_ERROR_FULL;
        }
        *displaced = place->state != HK_CLIP_OWNER_NONE && !place->is_asked;
        fill(place, event_id, trigger_sample, is_safety, is_wanted);
        if (owned == 0 || (is_safety && !has_safety)) {
            slot->window_trigger_sample = trigger_sample; /* its two seconds after the trigger are heard, too */
        }
        return 0;
    }
    if (owned > 0 && (is_busy || has_safety || !is_safety)) {
        return HK_ERROR_FULL;
    }
    *displaced = owned;
    clear(slot);
    fill(find_place(slot, 1), event_id, trigger_sample, is_safety, is_wanted); /* at most one place is not free */
    slot->window_trigger_sample = trigger_sample;
    return 0;
}

int hk_clip_slot_ask(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t trigger_sample)
{
    if (!is_empty(slot)) {
        return HK_ERROR_FULL;
    }
    fill(&slot->owners[0], event_id, trigger_sample, false, true);
    slot->owners[0].is_asked = true;
    slot->window_trigger_sample = trigger_sample;
    return 0;
}

/* Returns how many owners lose their clip because there was nothing to cut. */
static int capture(hk_clip_slot_t *slot, const hk_clip_ring_t *ring)
{
    const uint64_t trigger = slot->window_trigger_sample;
    const uint64_t from = trigger > BEFORE_SAMPLES ? trigger - BEFORE_SAMPLES : 0;
    const int status =
        hk_clip_ring_cut(ring, from, trigger + AFTER_SAMPLES, slot->data, sizeof slot->data, &slot->clip);
    int lost = 0;
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        hk_clip_owner_t *owner = &slot->owners[i];
        if (owner->state != HK_CLIP_OWNER_CAPTURING) {
            continue; /* free, or still being read */
        }
        if (status != 0 || owner->is_unwanted) {
            lost += !owner->is_unwanted;
            owner->state = HK_CLIP_OWNER_NONE;
        } else {
            owner->state = owner->is_wanted ? HK_CLIP_OWNER_READY : HK_CLIP_OWNER_HELD;
        }
    }
    return lost;
}

int hk_clip_slot_update(hk_clip_slot_t *slot, const hk_clip_ring_t *ring, uint64_t samples_heard)
{
    int given_up = 0;
    if (any_in_state(slot, HK_CLIP_OWNER_CAPTURING) && samples_heard >= slot->window_trigger_sample + AFTER_SAMPLES) {
        given_up = capture(slot, ring);
    }
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        hk_clip_owner_t *owner = &slot->owners[i];
        const bool is_in_vain = owner->state == HK_CLIP_OWNER_SENT && owner->tries >= HK_CLIP_TRIES;
        if ((owner->state == HK_CLIP_OWNER_HELD || is_in_vain)
            && samples_heard >= owner->trigger_sample + HK_CLIP_PATIENCE_SAMPLES) {
            owner->state = HK_CLIP_OWNER_NONE;
            given_up++;
        }
    }
    return given_up;
}

/* --- What the cloud says --- */

static void discard(hk_clip_owner_t *owner)
{
    if (owner->state == HK_CLIP_OWNER_CAPTURING || owner->state == HK_CLIP_OWNER_SENDING) {
        owner->is_unwanted = true;
    } else {
        owner->state = HK_CLIP_OWNER_NONE;
    }
}

int hk_clip_slot_request(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    hk_clip_owner_t *owner = find(slot, event_id);
    if (owner == NULL) {
        return HK_ERROR_NOT_FOUND;
    }
    owner->is_wanted = true;
    owner->is_unwanted = false;
    if (owner->state == HK_CLIP_OWNER_HELD) {
        owner->state = HK_CLIP_OWNER_READY;
    }
    return 0;
}

int hk_clip_slot_discard(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    hk_clip_owner_t *owner = find(slot, event_id);
    if (owner == NULL) {
        return HK_ERROR_NOT_FOUND;
    }
    discard(owner);
    return 0;
}

int hk_clip_slot_settle(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    hk_clip_owner_t *owner = find(slot, event_id);
    if (owner == NULL) {
        return HK_ERROR_NOT_FOUND;
    }
    if (!owner->is_wanted) {
        discard(owner);
    }
    return 0;
}

int hk_clip_slot_receipt(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    hk_clip_owner_t *owner = find(slot, event_id);
    if (owner == NULL) {
        return HK_ERROR_NOT_FOUND;
    }
    if (owner->state != HK_CLIP_OWNER_CAPTURING) {
        discard(owner); /* while it is being sent: the cloud has it from an earlier try, and this one ends by itself */
    }
    return 0;
}

/* --- Sending --- */

const hk_clip_owner_t *hk_clip_slot_next_to_send(const hk_clip_slot_t *slot)
{
    const hk_clip_owner_t *next = NULL;
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        const hk_clip_owner_t *owner = &slot->owners[i];
        if (owner->state == HK_CLIP_OWNER_SENDING) {
            return NULL;
        }
        if (owner->state != HK_CLIP_OWNER_READY) {
            continue;
        }
        const bool is_before = next == NULL || rank(owner) > rank(next)
                               || (rank(owner) == rank(next) && owner->trigger_sample < next->trigger_sample);
        if (is_before) {
            next = owner;
        }
    }
    return next;
}

int hk_clip_slot_mark_sending(hk_clip_slot_t *slot, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    hk_clip_owner_t *owner = find(slot, event_id);
    if (owner == NULL || owner->state != HK_CLIP_OWNER_READY || any_in_state(slot, HK_CLIP_OWNER_SENDING)) {
        return HK_ERROR_STATE;
    }
    owner->state = HK_CLIP_OWNER_SENDING;
    if (owner->tries < HK_CLIP_TRIES) {
        owner->tries++;
    }
    return 0;
}

void hk_clip_slot_read(const hk_clip_slot_t *slot, size_t offset, uint8_t *out, size_t n)
{
    bool is_wanted = false;
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        is_wanted = is_wanted || (slot->owners[i].state == HK_CLIP_OWNER_SENDING && !slot->owners[i].is_unwanted);
    }
    if (is_wanted) {
        memcpy(out, slot->data + offset, n);
    } else {
        memset(out, 0, n);
    }
}

/* Moves every owner that is in state `from` to `to`, or out where it is unwanted. */
static void move_on(hk_clip_slot_t *slot, hk_clip_owner_state_t from, hk_clip_owner_state_t to)
{
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        hk_clip_owner_t *owner = &slot->owners[i];
        if (owner->state == from) {
            owner->state = (uint8_t)(owner->is_unwanted ? HK_CLIP_OWNER_NONE : to);
        }
    }
}

void hk_clip_slot_mark_sent(hk_clip_slot_t *slot)
{
    move_on(slot, HK_CLIP_OWNER_SENDING, HK_CLIP_OWNER_SENT);
}

void hk_clip_slot_disconnected(hk_clip_slot_t *slot)
{
    move_on(slot, HK_CLIP_OWNER_SENDING, HK_CLIP_OWNER_READY);
    move_on(slot, HK_CLIP_OWNER_SENT, HK_CLIP_OWNER_READY);
}

void hk_clip_slot_send_again(hk_clip_slot_t *slot)
{
    move_on(slot, HK_CLIP_OWNER_SENT, HK_CLIP_OWNER_READY);
}

bool hk_clip_slot_is_awaiting_receipt(const hk_clip_slot_t *slot)
{
    return any_in_state(slot, HK_CLIP_OWNER_SENT) && !any_in_state(slot, HK_CLIP_OWNER_READY)
           && !any_in_state(slot, HK_CLIP_OWNER_SENDING);
}

uint8_t hk_clip_slot_pending(const hk_clip_slot_t *slot)
{
    uint8_t pending = 0;
    for (size_t i = 0; i < HK_CLIP_SLOT_OWNERS; i++) {
        const uint8_t state = slot->owners[i].state;
        pending = (uint8_t)(pending + (state != HK_CLIP_OWNER_NONE && state != HK_CLIP_OWNER_CAPTURING ? 1 : 0));
    }
    return pending;
}
