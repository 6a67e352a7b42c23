/* A device's handling of updates, rehearsed on this machine: the listener and hk_update over flash that lies in the
 * caller's memory and may lose its power at any byte. Who sends an update tries it here first, with the very code that
 * will judge it; tests cut its power. Host only. */
#ifndef HK_REHEARSAL_H
#define HK_REHEARSAL_H

#include <stddef.h>
#include <stdint.h>

#include "event_record.h"

size_t hk_rehearsal_bytes(void); /* of the state: the caller allocates it, aligned to 8 */
size_t hk_rehearsal_flash_bytes(void);

/* Starts the device on `flash`, which stays the caller's; after `power` bytes have been erased or written no more can be.
 * Returns 0 or an error of hk_listener_init. */
int hk_rehearsal_start(void *state, uint8_t *flash, uint64_t power);

/* Gives it its name, and its key of 32 bytes; NULL: it has none. */
void hk_rehearsal_provision(void *state, const char *device_id, const uint8_t *key);

/* Takes a message of topic `update`. Returns 0 or HK_ERROR_FORMAT; what became of the update is in `installed`. */
int hk_rehearsal_take(void *state, const uint8_t *message, size_t n);

/* Takes a head as it comes by cable. Returns 0 or an error of hk_update_load_head. */
int hk_rehearsal_load_head(void *state, const uint8_t *blob, size_t n);

/* Hears `steps` steps; events: room for HK_TRACKER_EVENTS_MAX a step. Returns how many there were. */
size_t hk_rehearsal_hear(void *state, const int16_t *pcm, size_t steps, hk_event_record_t *events);

/* Writes message `installed`; its length, 0 where it does not fit. */
size_t hk_rehearsal_installed(const void *state, uint8_t *out, size_t capacity);

/* Head version of an event (0: no head), and its thresholds (low, normal, high) in use. */
uint32_t hk_rehearsal_in_use(const void *state, uint8_t event, uint8_t thresholds[3]);

/* Of an event: repeat_ms, min_duration_ms, max_gap_ms, refractory_ms, release_percent, smoothing_shift. */
void hk_rehearsal_times(const void *state, uint8_t event, uint32_t times[6]);

/* What alarms must show: lone_duration_ms, persistent_ms, proven_percent, sure_scores (low, normal, high). */
void hk_rehearsal_alarm(const void *state, uint32_t alarm[6]);

/* Bytes that may still be erased or written. */
uint64_t hk_rehearsal_power(const void *state);

/* Scores `count` outputs of the trunk with a head (aligned to 4). Returns 0 or an error of hk_head_open. */
int hk_rehearsal_score(const uint8_t *blob, size_t n, const int8_t *trunk, size_t count, uint8_t *scores);

/* Copies the blob of the image's own head for an event of the catalogue; its length, 0 where it has none or does not fit. */
size_t hk_rehearsal_built_in(const char *event, uint8_t *out, size_t capacity);

#endif
