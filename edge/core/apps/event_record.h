/* An event as the Python face reads it, from the library and from a replay's file. Little-endian, as all boards are. */
#ifndef HK_EVENT_RECORD_H
#define HK_EVENT_RECORD_H

#include <stdint.h>
#include <string.h>

#include "hk_tracker.h"

/* Every field as in hk_event_t. */
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
    uint8_t scores[HK_TRACKER_EVENTS_MAX];
} hk_event_record_t;

_Static_assert(sizeof(hk_event_record_t) == 40, "edge.native lays it out so");

static inline hk_event_record_t hk_event_record(const hk_event_t *event)
{
    hk_event_record_t record = {
        .start_sample = event->start_sample,
        .trigger_sample = event->trigger_sample,
        .on_ms = event->cadence.on_ms,
        .off_ms = event->cadence.off_ms,
        .pause_ms = event->cadence.pause_ms,
        .cadence = event->cadence.kind,
        .periods = event->cadence.periods,
        .confidence = event->cadence.confidence,
        .event = event->event,
        .score = event->score,
        .sensitivity = event->sensitivity,
        .is_armed = event->is_armed,
        .is_repeat = event->is_repeat,
        .is_renamed = event->is_renamed,
    };
    memcpy(record.scores, event->scores, sizeof record.scores);
    return record;
}

#endif
