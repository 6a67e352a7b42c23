#include "rehearsal.h"

#include <string.h>

#include "hk_default_heads.h"
#include "hk_error.h"
#include "hk_messages.h"
#include "hk_update.h"

typedef struct {
    hk_listener_t listener;
    hk_update_t update;
    hk_port_t port;
    uint8_t *flash;
    uint64_t power;
    char device_id[HK_DEVICE_ID_MAX_CHARS + 1];
} rehearsal_t;

enum { FLASH_BYTES = HK_PORT_UPDATE_AREAS * HK_PORT_UPDATE_AREA_BYTES, PIECE_BYTES = 384 };

size_t hk_rehearsal_bytes(void)
{
    return sizeof(rehearsal_t);
}

size_t hk_rehearsal_flash_bytes(void)
{
    return FLASH_BYTES;
}

/* How many of `n` bytes there is power for. */
static size_t draw(rehearsal_t *device, size_t n)
{
    const size_t done = n < device->power ? n : (size_t)device->power;
    device->power -= done;
    return done;
}

static int erase(void *context, unsigned area)
{
    rehearsal_t *device = context;
    const size_t done = draw(device, HK_PORT_UPDATE_AREA_BYTES);
    memset(device->flash + area * (size_t)HK_PORT_UPDATE_AREA_BYTES, 0xff, done);
    return done == HK_PORT_UPDATE_AREA_BYTES ? 0 : -1;
}

static int write(void *context, size_t at, const uint8_t *bytes, size_t n)
{
    rehearsal_t *device = context;
    const size_t done = draw(device, n);
    for (size_t i = 0; i < done; i++) {
        device->flash[at + i] &= bytes[i];
    }
    return done == n && memcmp(device->flash + at, bytes, n) == 0 ? 0 : -1;
}

int hk_rehearsal_start(void *state, uint8_t *flash, uint64_t power)
{
    rehearsal_t *device = state;
    memset(device, 0, sizeof *device);
    device->flash = flash;
    device->power = power;
    device->port = (hk_port_t){.update_areas = flash, .update_erase = erase, .update_write = write, .context = device};
    const int status = hk_listener_init(&device->listener);
    if (status == 0) {
        hk_update_open(&device->update, &device->port, &device->listener);
    }
    return status;
}

void hk_rehearsal_provision(void *state, const char *device_id, const uint8_t *key)
{
    rehearsal_t *device = state;
    strncpy(device->device_id, device_id, sizeof device->device_id - 1);
    hk_update_set_identity(&device->update, device->device_id);
    hk_update_set_key(&device->update, key);
}

int hk_rehearsal_take(void *state, const uint8_t *message, size_t n)
{
    rehearsal_t *device = state;
    hk_update_piece_t piece;
    const int status = hk_message_decode_update(message, n, &piece);
    if (status == 0) {
        hk_update_take(&device->update, &piece);
        hk_update_poll(&device->update);
    }
    return status;
}

int hk_rehearsal_load_head(void *state, const uint8_t *blob, size_t n)
{
    rehearsal_t *device = state;
    bool is_whole = false;
    int status = 0;
    for (size_t at = 0; status == 0 && at < n; at += PIECE_BYTES) {
        const size_t piece = n - at < PIECE_BYTES ? n - at : PIECE_BYTES;
        status = hk_update_load_head(&device->update, (uint16_t)at, (uint16_t)n, blob + at, piece, &is_whole);
    }
    return status != 0 || is_whole ? status : HK_ERROR_TRUNCATED;
}

size_t hk_rehearsal_hear(void *state, const int16_t *pcm, size_t steps, hk_event_record_t *events)
{
    rehearsal_t *device = state;
    size_t written = 0;
    for (size_t step = 0; step < steps; step++) {
        hk_event_t found[HK_TRACKER_EVENTS_MAX];
        const size_t count = hk_listener_step(&device->listener, pcm + step * HK_STEP_SAMPLES, found);
        for (size_t i = 0; i < count; i++) {
            events[written++] = hk_event_record(&found[i]);
            hk_update_triggered(&device->update, found[i].event);
        }
        hk_update_heard(&device->update);
        hk_update_poll(&device->update);
    }
    return written;
}

size_t hk_rehearsal_installed(const void *state, uint8_t *out, size_t capacity)
{
    const rehearsal_t *device = state;
    hk_installed_t installed;
    size_t length = 0;
    hk_update_describe(&device->update, &installed);
    return hk_message_encode_installed(&installed, out, capacity, &length) == 0 ? length : 0;
}

uint32_t hk_rehearsal_in_use(const void *state, uint8_t event, uint8_t thresholds[3])
{
    const rehearsal_t *device = state;
    const hk_tracker_params_t *params = &device->listener.tracker.params;
    if (event >= params->event_count) {
        return 0;
    }
    memcpy(thresholds, params->events[event].thresholds, HK_TRACKER_SENSITIVITIES);
    return hk_listener_head_version(&device->listener, event);
}

void hk_rehearsal_times(const void *state, uint8_t event, uint32_t times[6])
{
    const rehearsal_t *device = state;
    const hk_tracker_event_params_t *params = &device->listener.tracker.params.events[event];
    const uint32_t given[] = {params->repeat_ms,     params->min_duration_ms, params->max_gap_ms,
                              params->refractory_ms, params->release_percent, params->smoothing_shift};
    memcpy(times, given, sizeof given);
}

void hk_rehearsal_alarm(const void *state, uint32_t alarm[6])
{
    const rehearsal_t *device = state;
    const hk_tracker_alarm_params_t *params = &device->listener.tracker.params.alarm;
    const uint32_t given[] = {params->lone_duration_ms,
                              params->persistent_ms,
                              params->proven_percent,
                              params->sure_scores[HK_SENSITIVITY_LOW],
                              params->sure_scores[HK_SENSITIVITY_NORMAL],
                              params->sure_scores[HK_SENSITIVITY_HIGH]};
    memcpy(alarm, given, sizeof given);
}

uint64_t hk_rehearsal_power(const void *state)
{
    const rehearsal_t *device = state;
    return device->power;
}

int hk_rehearsal_score(const uint8_t *blob, size_t n, const int8_t *trunk, size_t count, uint8_t *scores)
{
    hk_head_t head;
    int status = hk_head_open(&head, blob, n);
    if (status == 0) {
        status = hk_head_check_trunk(&head, hk_trunk_hash, HK_ENGINE_OUTPUT_BYTES);
    }
    for (size_t i = 0; status == 0 && i < count; i++) {
        hk_head_score(&head, 1, trunk + i * HK_ENGINE_OUTPUT_BYTES, &scores[i]);
    }
    return status;
}

size_t hk_rehearsal_built_in(const char *event, uint8_t *out, size_t capacity)
{
    for (uint8_t i = 0; i < hk_default_head_count; i++) {
        hk_head_t head;
        const size_t length = hk_default_heads[i].len;
        if (length <= capacity && hk_head_open(&head, hk_default_heads[i].blob, length) == 0
            && strcmp(head.event_name, event) == 0) {
            memcpy(out, hk_default_heads[i].blob, length);
            return length;
        }
    }
    return 0;
}
