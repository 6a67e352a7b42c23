/* What the Python face calls in a library built with a model: the device's ears, from PCM to events. Host only. */
#ifndef HK_LIBRARY_H
#define HK_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

#include "event_record.h"
#include "hk_listener.h"

/* Bytes of a listener's state: the caller allocates it, aligned to 8. */
size_t hk_library_listener_bytes(void);

/* How many events the catalogue has: the width of a row of scores. */
size_t hk_library_event_count(void);

/* First bytes of the SHA-256 of the model that was compiled in: HK_MODEL_HASH_BYTES of them. */
const uint8_t *hk_library_model_hash(void);

/* What a head must be made for: the trunk's hash (8 bytes), and how many values it gives a step. */
const uint8_t *hk_library_trunk_hash(void);
size_t hk_library_trunk_outputs(void);

/* Starts a stream. Returns 0 or an error of hk_listener_init. */
int hk_library_listener_init(void *listener);

/* The user's choices, from the next step on. The second returns 0 or HK_ERROR_ARGUMENT. */
void hk_library_listener_set_armed(void *listener, int is_armed);
int hk_library_listener_set_event(void *listener, uint8_t event, int is_enabled, uint8_t sensitivity);

/* Takes a head, whose blob (aligned to 4) stays where it is: 0 or an error of hk_listener_take_head. */
int hk_library_listener_take_head(void *listener, const uint8_t *blob, size_t len);

/* The cadence evidence of the sound under way, as the tracker has it after the last step. */
void hk_library_listener_cadence(const void *listener, hk_cadence_evidence_t *evidence);

/* What alarms must show besides their scores, from the next step on. Returns 0 or HK_ERROR_ARGUMENT. */
int hk_library_listener_set_alarm_params(void *listener, const hk_tracker_alarm_params_t *alarm);

/* An event's sensitivity as a number, 0 to HK_TRACKER_LEVEL_MAX. Returns 0 or HK_ERROR_ARGUMENT. */
int hk_library_listener_set_event_level(void *listener, uint8_t event, int is_enabled, uint8_t level);

/* Hears `steps` steps. features: int8[steps][HK_STEP_FEATURES]; trunk: int8[steps][hk_library_trunk_outputs()]; scores: uint8[steps][hk_library_event_count()];
 * events: room for HK_TRACKER_EVENTS_MAX a step. Returns how many events were written. */
size_t hk_library_listener_run(void *listener, const int16_t *pcm, size_t steps, int8_t *features, int8_t *trunk, uint8_t *scores,
                               hk_event_record_t *events);

#endif
