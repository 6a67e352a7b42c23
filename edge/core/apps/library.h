/* The whole of listening as a host library: what Python loads to hear as a device with a certain model hears. */
#ifndef HK_LIBRARY_H
#define HK_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

/* One event, laid out alike for every compiler. */
typedef struct {
    uint64_t start_sample;
    uint64_t trigger_sample;
    uint16_t cadence_on_ms;
    uint16_t cadence_off_ms;
    uint16_t cadence_pause_ms;
    uint8_t cadence_kind; /* HK_CADENCE_… */
    uint8_t cadence_periods;
    uint8_t cadence_confidence;
    uint8_t event; /* index in the catalogue */
    uint8_t score;
    uint8_t sensitivity;
    uint8_t is_armed;
    uint8_t is_repeat;
    uint8_t is_renamed;
    uint8_t reserved;
} hk_library_event_t;

_Static_assert(sizeof(hk_library_event_t) == 32, "no padding: ctypes lays it out by itself");

/* Bytes of the listener, which the caller allocates, aligned to 8. */
size_t hk_library_listener_bytes(void);

/* Starts a stream with the defaults; 0 or a negative hk_error.h value. */
int hk_library_listener_init(void *listener);

void hk_library_set_armed(void *listener, int is_armed);

/* Chooses an event and its sensitivity; 0 or a negative hk_error.h value. */
int hk_library_set_event(void *listener, uint8_t event, int is_enabled, uint8_t sensitivity);

/* Hears `steps` steps of 320 samples. Writes int8[steps][80] features and uint8[steps][HK_EVENT_COUNT] scores in
 * catalogue order (either may be NULL) and the first `capacity` events; returns how many events there were. */
size_t hk_library_listen(void *listener, const int16_t *pcm, size_t steps, int8_t *features, uint8_t *scores,
                         hk_library_event_t *events, size_t capacity);

/* First 8 bytes of the SHA-256 of the .tflite that the library was built with. */
const uint8_t *hk_library_model_hash(void);

#endif
