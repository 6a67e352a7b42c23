/* Events that the cloud has not judged yet, whose sound goes on to be fingerprinted for it.
 *
 * What comes after a trigger is evidence too: while an event is open, further words go to the cloud, a second's at a
 * time, until its verdict or for HK_FURTHER_WORDS_SECONDS. One message speaks of all open events: they hear the same
 * sound. The caller owns the struct (about 130 bytes). Not for use from an interrupt. */
#ifndef HK_FURTHER_H
#define HK_FURTHER_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_listener.h"
#include "hk_messages.h"

typedef struct {
    uint32_t trigger_step; /* steps heard at the trigger */
    uint8_t event_id[HK_EVENT_ID_BYTES];
    uint8_t event; /* HK_EVENT_COUNT: the place is free */
} hk_further_event_t;

typedef struct {
    hk_further_event_t events[HK_FURTHER_EVENTS_MAX];
    uint64_t next_sample; /* where the first word begins that was not handed over */
    uint64_t looked_sample; /* up to where the device's own known media have been looked for */
    hk_media_hint_t hint; /* what they found since the triggers */
} hk_further_t;

void hk_further_init(hk_further_t *further);

/* Opens an event, whose trigger carries words up to `words_end`; the oldest open one makes room. */
void hk_further_open(hk_further_t *further, const hk_trigger_t *trigger, uint64_t words_end, uint64_t samples_heard);

/* The cloud has judged an event. Returns which event of the catalogue it was, HK_EVENT_COUNT where it is not among
 * the latest HK_FURTHER_EVENTS_MAX. */
uint8_t hk_further_close(hk_further_t *further, const uint8_t event_id[HK_EVENT_ID_BYTES]);

/* Whether an open event's sound is still to be fingerprinted. */
bool hk_further_is_open(const hk_further_t *further, uint8_t place, uint64_t samples_heard);
bool hk_further_has_open(const hk_further_t *further, uint64_t samples_heard);

/* Whether a message's worth of words has been heard since the last. */
bool hk_further_is_due(const hk_further_t *further, uint64_t samples_heard);

/* The next message, of the first words of `words` that were not handed over; false where there are none. It points into
 * `further` and `words`. */
bool hk_further_next(hk_further_t *further, const hk_listener_words_t *words, uint64_t samples_heard,
                     uint8_t usable[(HK_FURTHER_WORDS_MAX + 7) / 8], hk_further_words_t *message);

#endif
