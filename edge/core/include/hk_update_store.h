/* Where updates are kept, and where one arrives: areas of flash, none of which is ever written while it is needed.
 *
 * An update comes in pieces, in any order and more than once, into an area that nobody needs. What makes it count is a
 * record at the area's end that is written last: its sequence number and a CRC over all. Afterwards marks beside the record
 * say how its trial goes. So after a power cut at any write the old update or the new one is there whole, never neither.
 *
 * An area is needed while it holds the latest update of its part (of its event, for a head), or the one before it while the
 * latest is on trial. One that was rolled back or withdrawn is needed until the next record has come, which notes that its
 * version must not come again (the floor). One area stays free for what arrives: of HK_UPDATE_AREAS one less can be in
 * effect together, and a head's and the thresholds' count alike. Events that the catalogue lacks are one: the device has
 * room for one of them.
 *
 * The caller owns the struct (40 bytes); the areas are the board's (hk_port_t). Not for use from an interrupt. */
#ifndef HK_UPDATE_STORE_H
#define HK_UPDATE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_messages.h"
#include "hk_port.h"
#include "hk_update_envelope.h"

#define HK_UPDATE_NO_AREA UINT8_MAX

typedef struct {
    const hk_port_t *port;
    bool is_unsigned_barred; /* a device with a key holds nothing that is not signed */
    uint8_t area;            /* that an update is arriving in, or waits in; HK_UPDATE_NO_AREA */
    uint8_t received;        /* bit n: piece n has come */
    bool is_whole;
    uint16_t total;
    uint8_t tag[HK_UPDATE_TAG_BYTES];
} hk_update_store_t;

/* An update that counts, as its area holds it. */
typedef struct {
    hk_update_envelope_t envelope;
    uint32_t sequence; /* a later one is newer */
    uint32_t floor;    /* versions up to it are not taken, whose areas may be gone */
    int16_t code;      /* why it was rolled back */
    uint8_t fate;      /* HK_FATE_TRIAL, _CONFIRMED, _WITHDRAWN (confirmed, with no payload) or _ROLLED_BACK */
    bool is_signed;
    bool is_reset; /* the device was reset once while it was on trial */
} hk_update_record_t;

void hk_update_store_init(hk_update_store_t *store, const hk_port_t *port);

/* What an area holds; false: nothing that counts. */
bool hk_update_store_read(const hk_update_store_t *store, uint8_t area, hk_update_record_t *record);

/* The area of the latest update of a part that was not rolled back, and what it holds; HK_UPDATE_NO_AREA. */
uint8_t hk_update_store_latest(const hk_update_store_t *store, uint8_t part, const char *event, hk_update_record_t *record);

/* The greatest version of a part that is held, rolled back or not, 0: none; and that of what is held no more. */
uint32_t hk_update_store_version(const hk_update_store_t *store, uint8_t part, const char *event);
uint32_t hk_update_store_floor(const hk_update_store_t *store);

/* Whether an update of a part may be added, so that an area stays free for the next. */
bool hk_update_store_has_room_for(const hk_update_store_t *store, uint8_t part, const char *event);

/* Lets the oldest unsigned update go where no area is free. 0 or HK_ERROR_TRANSPORT. */
int hk_update_store_make_room(hk_update_store_t *store);

/* Takes a piece; when the last one has come, store->is_whole, and the update lies in store->area, unchecked.
 * Returns 0, also for a piece that came before. HK_ERROR_REFUSED: the board has no areas. HK_ERROR_BUSY: another update
 * waits. HK_ERROR_FULL: every area is needed. HK_ERROR_TOO_LARGE, HK_ERROR_PROTOCOL: it is none of an update.
 * HK_ERROR_TRANSPORT: the flash was not written. */
int hk_update_store_take(hk_update_store_t *store, const hk_update_piece_t *piece);

/* Erases an area that nobody needs for `total` bytes that are written by hk_update_store_write, whatever was arriving.
 * Returns as _take. */
int hk_update_store_begin(hk_update_store_t *store, uint16_t total);
int hk_update_store_write(hk_update_store_t *store, uint16_t offset, const uint8_t *bytes, size_t n);

/* The bytes that have arrived. */
const uint8_t *hk_update_store_arrived(const hk_update_store_t *store);

/* Lets go of what has arrived. */
void hk_update_store_drop(hk_update_store_t *store);

/* Makes what has arrived count from now on, confirmed or on trial; its area, or HK_UPDATE_NO_AREA where the flash was not
 * written. */
uint8_t hk_update_store_commit(hk_update_store_t *store, bool is_signed, bool is_on_trial);

/* Marks an update: its trial has ended well or badly, or the device was reset meanwhile. 0 or HK_ERROR_TRANSPORT. */
int hk_update_store_confirm(const hk_update_store_t *store, uint8_t area);
int hk_update_store_roll_back(const hk_update_store_t *store, uint8_t area, int code);
int hk_update_store_note_reset(const hk_update_store_t *store, uint8_t area);

#endif
