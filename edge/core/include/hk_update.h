/* Updates over the air: signed heads, thresholds and settings, from their first piece to use, or back.
 *
 *   pieces arrive         hk_update_take: into a free area of flash (hk_update_store.h); nothing changes yet
 *   between two steps     hk_update_poll: the signature, the version and the self-test are checked; only then the update
 *                         counts, at once and over a restart, on trial
 *   while it listens      hk_update_heard, hk_update_triggered: a trial ends after the seconds of audio that the update
 *                         names, and at once where more triggers come in a minute than it allows
 *   at a start            hk_update_open: an update on trial has one reset; at the second it is rolled back
 *
 * A version that is not newer than any that was ever taken is refused, one that was rolled back therefore too. One update at a
 * time is on trial; another that would be waits, unless it takes the place of that very one. Without a key no update is
 * taken, and a head may come by cable, unsigned and with no trial, but under the same self-test where it is a safety event's;
 * with one it may not, and what came so before is put aside.
 *
 * The caller owns the struct (about 200 bytes). Not for use from an interrupt. */
#ifndef HK_UPDATE_H
#define HK_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_listener.h"
#include "hk_messages.h"
#include "hk_update_store.h"

typedef struct {
    hk_update_store_t store;
    hk_listener_t *listener;
    const char *device_id; /* NULL: not known yet */
    bool has_key;
    uint8_t key[HK_UPDATE_KEY_BYTES];

    uint8_t trial_area; /* HK_UPDATE_NO_AREA: nothing is on trial */
    uint8_t minute_triggers;
    uint64_t trial_end_sample;
    uint64_t minute_end_sample;

    /* The last update that was refused; code 0: none was. */
    char refused_event[HK_NAME_MAX_CHARS + 1];
    uint8_t refused_tag[HK_UPDATE_TAG_BYTES];
    uint32_t refused_version;
    int16_t refused_code;
    uint8_t refused_part;

    uint16_t loaded_bytes; /* of the head that is coming by cable */
    uint8_t loaded_area;   /* of the head that came by cable last */
    uint8_t barred_areas;  /* a bit for each that holds a head by cable which may not be used with this image */
    bool is_changed;       /* there is something to tell: the reader clears it */
} hk_update_t;

/* Makes the listener what the updates in flash make of it, after a start. `port` and `listener` outlive the struct. */
void hk_update_open(hk_update_t *update, const hk_port_t *port, hk_listener_t *listener);

/* The device's key, copied; NULL: it has none. */
void hk_update_set_key(hk_update_t *update, const uint8_t key[HK_UPDATE_KEY_BYTES]);

/* Who the device is; `device_id` outlives the struct. */
void hk_update_set_identity(hk_update_t *update, const char *device_id);

/* Takes a piece of an update; what becomes of it is told by hk_update_describe. */
void hk_update_take(hk_update_t *update, const hk_update_piece_t *piece);

/* Lets an update take effect that has come whole. Call it between two steps. */
void hk_update_poll(hk_update_t *update);

/* After each step, and with each trigger: ends trials. */
void hk_update_heard(hk_update_t *update);
void hk_update_triggered(hk_update_t *update, uint8_t event);

/* Whether the set of known media of a seal (HK_MEDIA_SET_SEAL_BYTES) may be used: any where the device has no key; else one
 * that a signed update names. The update counts as on trial until hk_update_media_used has said that its set is in use;
 * until then the one before it still holds too. */
bool hk_update_allows_media(const hk_update_t *update, const uint8_t *seal);
void hk_update_media_used(hk_update_t *update, const uint8_t *seal);

/* Takes `n` bytes that lie at `offset` of a head's blob and, after it, its self-test as an update carries it, `total` bytes
 * in all, by cable, in order; offset 0 begins anew. Only a safety event's head needs the self-test. It takes the place of
 * the oldest head that came so where there is no room for more.
 * Returns 0 and sets *is_whole: the head is in use now. HK_ERROR_REFUSED: the board has no areas. HK_ERROR_SIGNATURE: a
 * device with a key takes signed heads only. HK_ERROR_TOO_LARGE, HK_ERROR_PROTOCOL, HK_ERROR_FULL, HK_ERROR_TRANSPORT as
 * for pieces, or why it may not be used with this device (hk_update_check_cabled). Takes about 1,900 bytes of stack. */
int hk_update_load_head(hk_update_t *update, uint16_t offset, uint16_t total, const uint8_t *bytes, size_t n,
                        bool *is_whole);

/* The head that came by cable last, if it is still held. */
bool hk_update_loaded_head(const hk_update_t *update, hk_head_t *head);

/* What the device holds, for `installed`; names lie in flash and in `update`. */
void hk_update_describe(const hk_update_t *update, hk_installed_t *installed);

#endif
