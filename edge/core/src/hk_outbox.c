#include "hk_outbox.h"

#include <string.h>

#include "hk_error.h"

_Static_assert(HK_TRIGGER_MAX_BYTES <= UINT16_MAX, "an entry's length is kept in 16 bits");
_Static_assert(HK_OUTBOX_TRIGGERS <= UINT8_MAX, "the depth is told in 8 bits");

void hk_outbox_init(hk_outbox_t *outbox)
{
    memset(outbox, 0, sizeof *outbox);
}

/* Orders count up and may wrap; what is held at one time is never 2^31 apart. */
static bool is_older(const hk_outbox_entry_t *a, const hk_outbox_entry_t *b)
{
    return (int32_t)(a->order - b->order) < 0;
}

static hk_outbox_entry_t *find_free(hk_outbox_t *outbox)
{
    for (size_t i = 0; i < HK_OUTBOX_TRIGGERS; i++) {
        if (!outbox->entries[i].is_used && !outbox->entries[i].is_being_read) {
            return &outbox->entries[i];
        }
    }
    return NULL;
}

/* What makes room: the oldest that is no safety event; if there is none, the oldest, and only for a safety event. */
static hk_outbox_entry_t *find_displaceable(hk_outbox_t *outbox, bool is_for_safety)
{
    hk_outbox_entry_t *found = NULL;
    for (size_t i = 0; i < HK_OUTBOX_TRIGGERS; i++) {
        hk_outbox_entry_t *entry = &outbox->entries[i];
        if (entry->is_being_read || (entry->is_safety && !is_for_safety)) {
            continue;
        }
        if (found == NULL || (found->is_safety && !entry->is_safety)
            || (found->is_safety == entry->is_safety && is_older(entry, found))) {
            found = entry;
        }
    }
    return found;
}

int hk_outbox_put(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES], bool is_safety,
                  const uint8_t *payload, size_t length, bool *displaced, uint8_t displaced_id[HK_EVENT_ID_BYTES])
{
    if (displaced != NULL) {
        *displaced = false;
    }
    if (length == 0) {
        return HK_ERROR_ARGUMENT;
    }
    if (length > HK_TRIGGER_MAX_BYTES) {
        return HK_ERROR_TOO_LARGE;
    }
    hk_outbox_entry_t *entry = find_free(outbox);
    if (entry == NULL) {
        outbox->dropped++;
        entry = find_displaceable(outbox, is_safety);
        if (entry == NULL) {
            return HK_ERROR_FULL;
        }
        if (displaced != NULL) {
            *displaced = true;
        }
        if (displaced_id != NULL) {
            memcpy(displaced_id, entry->event_id, HK_EVENT_ID_BYTES);
        }
    }
    entry->order = outbox->next_order++;
    entry->length = (uint16_t)length;
    entry->is_used = true;
    entry->is_safety = is_safety;
    entry->is_sent = false;
    memcpy(entry->event_id, event_id, HK_EVENT_ID_BYTES);
    memcpy(entry->payload, payload, length);
    return HK_OK;
}

const hk_outbox_entry_t *hk_outbox_next_to_send(const hk_outbox_t *outbox)
{
    const hk_outbox_entry_t *next = NULL;
    for (size_t i = 0; i < HK_OUTBOX_TRIGGERS; i++) {
        const hk_outbox_entry_t *entry = &outbox->entries[i];
        if (!entry->is_used || entry->is_sent) {
            continue;
        }
        if (next == NULL || (entry->is_safety && !next->is_safety)
            || (entry->is_safety == next->is_safety && is_older(entry, next))) {
            next = entry;
        }
    }
    return next;
}

static size_t index_of(const hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    size_t i = 0;
    while (i < HK_OUTBOX_TRIGGERS
           && !(outbox->entries[i].is_used && memcmp(outbox->entries[i].event_id, event_id, HK_EVENT_ID_BYTES) == 0)) {
        i++;
    }
    return i;
}

const hk_outbox_entry_t *hk_outbox_find(const hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    const size_t i = index_of(outbox, event_id);
    return i < HK_OUTBOX_TRIGGERS ? &outbox->entries[i] : NULL;
}

int hk_outbox_mark_sent(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    const size_t i = index_of(outbox, event_id);
    if (i == HK_OUTBOX_TRIGGERS) {
        return HK_ERROR_NOT_FOUND;
    }
    outbox->entries[i].is_sent = true;
    return HK_OK;
}

int hk_outbox_hold(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    const size_t i = index_of(outbox, event_id);
    if (i == HK_OUTBOX_TRIGGERS) {
        return HK_ERROR_NOT_FOUND;
    }
    outbox->entries[i].is_being_read = true;
    return HK_OK;
}

void hk_outbox_release(hk_outbox_t *outbox)
{
    for (size_t i = 0; i < HK_OUTBOX_TRIGGERS; i++) {
        outbox->entries[i].is_being_read = false;
    }
}

int hk_outbox_receipt(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    const size_t i = index_of(outbox, event_id);
    if (i == HK_OUTBOX_TRIGGERS) {
        outbox->unknown_receipts++;
        return HK_ERROR_NOT_FOUND;
    }
    outbox->entries[i].is_used = false;
    return HK_OK;
}

void hk_outbox_reconnected(hk_outbox_t *outbox)
{
    for (size_t i = 0; i < HK_OUTBOX_TRIGGERS; i++) {
        outbox->entries[i].is_sent = false;
    }
}

uint8_t hk_outbox_depth(const hk_outbox_t *outbox)
{
    uint8_t depth = 0;
    for (size_t i = 0; i < HK_OUTBOX_TRIGGERS; i++) {
        depth = (uint8_t)(depth + (outbox->entries[i].is_used ? 1 : 0));
    }
    return depth;
}
