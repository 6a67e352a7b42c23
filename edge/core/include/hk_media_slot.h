/* Where a device's set of known media is kept, and where a new one arrives: two areas of flash, of which one is in use.
 *
 * Pieces of a set come in any order and more than once, each saying which set it is of. They are written to the area
 * that is not in use; only when all are there and what the flash holds opens as that very set does it take effect. So
 * a power cut at any moment leaves a whole set: at the start the newer of those that open is in use.
 *
 * Where the device has a key, only a set that a signed update names may be used (hk_update.h): one that is whole before its
 * leave has come waits for it.
 *
 * The caller owns the struct; the areas are the board's (hk_port_t). Not for use from an interrupt. */
#ifndef HK_MEDIA_SLOT_H
#define HK_MEDIA_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_media_set.h"
#include "hk_messages.h"
#include "hk_port.h"

/* Whether the set of a seal (HK_MEDIA_SET_SEAL_BYTES) may be used. */
typedef bool (*hk_media_slot_may_use_t)(void *context, const uint8_t *seal);

typedef struct {
    const hk_port_t *port;
    hk_media_slot_may_use_t may_use; /* NULL: any set may be */
    void *context;
    hk_media_set_t set; /* in use; blob is NULL where there is none */
    uint32_t received;  /* bit n: piece n of the set that is arriving */
    uint32_t arriving_version; /* 0: none is */
    uint16_t arriving_bytes;
    uint8_t arriving_hash[HK_MEDIA_HASH_BYTES];
    uint8_t refused_hash[HK_MEDIA_HASH_BYTES]; /* of the last one that came whole and was refused: not written again */
    int16_t refused_status;
    uint8_t area; /* in use; the other one is written to */
} hk_media_slot_t;

/* Opens what the areas hold from before, of what may be used. */
void hk_media_slot_init(hk_media_slot_t *slot, const hk_port_t *port, hk_media_slot_may_use_t may_use, void *context);

/* Takes a piece. *is_whole: it was the last one, and its set is in use now.
 * Returns 0, also for a piece of the set in use. HK_ERROR_REFUSED: the board has no areas. HK_ERROR_OLDER: than the set
 * in use or the one that is arriving, or another one of the same version. HK_ERROR_TOO_LARGE, HK_ERROR_PROTOCOL: the piece
 * is none of a set. HK_ERROR_SIGNATURE: it is whole, and waits for leave. HK_ERROR_TRANSPORT: the flash was not written. Else why the whole set was refused: an error of
 * hk_media_set_open, or HK_ERROR_MISMATCH where it is not the set that its pieces were said to be of. */
int hk_media_slot_take(hk_media_slot_t *slot, const hk_media_piece_t *piece, bool *is_whole);

/* Leave has come for a set: puts it to use if it is whole; whether it was. */
bool hk_media_slot_use_if_whole(hk_media_slot_t *slot);

#endif
