/* Triggers that wait for the cloud's receipt: bounded, in the order they were made, dropped only by a stated rule.
 *
 * A broker's PUBACK is no receipt (a killed broker has lost messages that it had acknowledged), so a trigger leaves only
 * when the cloud has said that it is stored. When all HK_OUTBOX_TRIGGERS places are taken, the oldest trigger that is
 * not a safety event makes room; where all are safety events, a new safety trigger displaces the oldest of them and
 * one that is not is refused. Every drop is counted.
 *
 * The caller owns the struct; put copies. No heap. Not for use from an interrupt. */
#ifndef HK_OUTBOX_H
#define HK_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hk_limits.h"

typedef struct {
    uint32_t order; /* put counter: the smaller is the older */
    uint16_t length;
    bool is_used;
    bool is_safety;
    bool is_sent; /* since the last reconnect */
    bool is_being_read; /* its payload is on its way out: it stays as it is, receipted or not */
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint8_t payload[HK_TRIGGER_MAX_BYTES];
} hk_outbox_entry_t;

typedef struct {
    hk_outbox_entry_t entries[HK_OUTBOX_TRIGGERS];
    uint32_t next_order;
    uint32_t dropped;          /* triggers displaced or refused for want of room */
    uint32_t unknown_receipts; /* receipts, late or twice, for what is not held (any more) */
} hk_outbox_t;

void hk_outbox_init(hk_outbox_t *outbox);

/* Keeps a copy of a serialised trigger. Returns 0, also when an older one was displaced for it: then *displaced is
 * true and displaced_id is that one's id (both may be NULL). HK_ERROR_FULL: refused and counted, since all places hold
 * safety events and this is none. HK_ERROR_TOO_LARGE over HK_TRIGGER_MAX_BYTES. */
int hk_outbox_put(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES], bool is_safety,
                  const uint8_t *payload, size_t length, bool *displaced, uint8_t displaced_id[HK_EVENT_ID_BYTES]);

/* The trigger to send next: safety events first, then the oldest. NULL when all are sent or none is held.
 * The entry stays the outbox's; it may move or vanish with the next put or receipt. */
const hk_outbox_entry_t *hk_outbox_next_to_send(const hk_outbox_t *outbox);

/* The trigger of that id, or NULL. */
const hk_outbox_entry_t *hk_outbox_find(const hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* It has been handed to the MQTT session: not offered again until hk_outbox_reconnected. 0 or HK_ERROR_NOT_FOUND. */
int hk_outbox_mark_sent(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* Its payload is read from now on, until hk_outbox_release: no newer trigger takes its place meanwhile, even where a receipt
 * has come for it. One at a time. 0 or HK_ERROR_NOT_FOUND. */
int hk_outbox_hold(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES]);
void hk_outbox_release(hk_outbox_t *outbox);

/* The cloud has stored it: forget it. Returns 0, or HK_ERROR_NOT_FOUND for a receipt that came twice, late or for
 * something never held, which is counted and harmless. */
int hk_outbox_receipt(hk_outbox_t *outbox, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* A new session: what was sent without a receipt is to be sent again. */
void hk_outbox_reconnected(hk_outbox_t *outbox);

/* Triggers held. */
uint8_t hk_outbox_depth(const hk_outbox_t *outbox);

#endif /* HK_OUTBOX_H */
