/* What the Python face calls in a library built with a model: the device's ears, from PCM to events. Host only. */
#ifndef HK_LIBRARY_H
#define HK_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "hk_listener.h"

/* An event as edge.native reads it; every field as in hk_event_t. */
typedef struct {
    uint64_t start_sample;
    uint64_t trigger_sample;
    uint16_t on_ms;
    uint16_t off_ms;
    uint16_t pause_ms;
    uint8_t cadence;
    uint8_t periods;
    uint8_t confidence;
    uint8_t event;
    uint8_t score;
    uint8_t sensitivity;
    uint8_t is_armed;
    uint8_t is_repeat;
    uint8_t is_renamed;
    uint8_t reserved;
    uint8_t scores[HK_TRACKER_EVENTS_MAX];
} hk_library_event_t;

_Static_assert(sizeof(hk_library_event_t) == 40, "edge.native lays it out so");

/* Bytes of a listener's state: the caller allocates it, aligned to 8. */
size_t hk_library_listener_bytes(void);

/* How many events the catalogue has: the width of a row of scores. */
size_t hk_library_event_count(void);

/* First bytes of the SHA-256 of the model that was compiled in: HK_MODEL_HASH_BYTES of them. */
const uint8_t *hk_library_model_hash(void);

/* Starts a stream. Returns 0 or an error of hk_listener_init. */
int hk_library_listener_init(void *listener);

/* The user's choices, from the next step on. The second returns 0 or HK_ERROR_ARGUMENT. */
void hk_library_listener_set_armed(void *listener, int is_armed);
int hk_library_listener_set_event(void *listener, uint8_t event, int is_enabled, uint8_t sensitivity);

/* Hears `steps` steps. features: int8[steps][HK_STEP_FEATURES]; scores: uint8[steps][hk_library_event_count()];
 * events: room for HK_TRACKER_EVENTS_MAX a step. Returns how many events were written. */
size_t hk_library_listener_run(void *listener, const int16_t *pcm, size_t steps, int8_t *features, uint8_t *scores,
                               hk_library_event_t *events);

#endif
