/* Where a head arrives while the device listens: two areas of flash, of which one may be in use.
 *
 * A blob comes in pieces, in order, into the area that is not in use. Only when it is whole, and what the flash holds
 * opens as a head of this trunk, does the caller put it to use; until then, and where it does not, the head in use stays.
 *
 * The caller owns the struct; the areas are the board's (hk_port_t). Not for use from an interrupt. */
#ifndef HK_HEAD_SLOT_H
#define HK_HEAD_SLOT_H

#include <stddef.h>
#include <stdint.h>

#include "hk_head.h"
#include "hk_port.h"

#define HK_HEAD_SLOT_AREAS HK_PORT_HEAD_AREAS

typedef struct {
    const hk_port_t *port;
    uint16_t total;    /* bytes of the blob that is arriving; 0: none is */
    uint16_t received; /* of them */
    uint8_t arriving;  /* the area that is written to */
} hk_head_slot_t;

void hk_head_slot_init(hk_head_slot_t *slot, const hk_port_t *port);

/* Takes `n` bytes that lie at `offset` of a blob of `total` bytes; offset 0 begins anew, whatever came before.
 * Returns 0 and sets *blob: NULL while more is to come; then the whole blob, unchecked, aligned to 4.
 * HK_ERROR_REFUSED: the board has no areas. HK_ERROR_TOO_LARGE: over HK_HEAD_MAX_BYTES. HK_ERROR_PROTOCOL: the
 * bytes do not continue what came. HK_ERROR_TRANSPORT: the flash was not written. After an error begin anew. */
int hk_head_slot_take(hk_head_slot_t *slot, uint16_t offset, uint16_t total, const uint8_t *bytes, size_t n,
                      const uint8_t **blob);

/* The blob that hk_head_slot_take has last given is in use from now on: the next one goes to the other area. */
void hk_head_slot_use(hk_head_slot_t *slot);

#endif
