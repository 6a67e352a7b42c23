#include "hk_further.h"

#include <string.h>

#include "hk_frontend_tables.h"

static uint32_t step_of(uint64_t samples_heard)
{
    return (uint32_t)(samples_heard / HK_STEP_SAMPLES);
}

static uint32_t age(const hk_further_event_t *event, uint64_t samples_heard)
{
    return step_of(samples_heard) - event->trigger_step;
}

void hk_further_init(hk_further_t *further)
{
    memset(further, 0, sizeof *further);
    for (uint32_t i = 0; i < HK_FURTHER_EVENTS_MAX; i++) {
        further->events[i].event = HK_EVENT_COUNT;
    }
}

void hk_further_open(hk_further_t *further, const hk_trigger_t *trigger, uint64_t words_end, uint64_t samples_heard)
{
    if (!hk_further_has_open(further, samples_heard)) {
        further->next_sample = words_end;
        further->looked_sample = words_end;
        further->hint.is_set = false;
    }
    hk_further_event_t *place = &further->events[0];
    for (uint32_t i = 0; i < HK_FURTHER_EVENTS_MAX && place->event != HK_EVENT_COUNT; i++) {
        hk_further_event_t *event = &further->events[i];
        if (event->event == HK_EVENT_COUNT || age(event, samples_heard) > age(place, samples_heard)) {
            place = event;
        }
    }
    place->event = trigger->event;
    place->trigger_step = step_of(samples_heard);
    memcpy(place->event_id, trigger->event_id, HK_EVENT_ID_BYTES);
}

uint8_t hk_further_close(hk_further_t *further, const uint8_t event_id[HK_EVENT_ID_BYTES])
{
    for (uint32_t i = 0; i < HK_FURTHER_EVENTS_MAX; i++) {
        hk_further_event_t *event = &further->events[i];
        if (event->event != HK_EVENT_COUNT && memcmp(event->event_id, event_id, HK_EVENT_ID_BYTES) == 0) {
            const uint8_t which = event->event;
            event->event = HK_EVENT_COUNT;
            return which;
        }
    }
    return HK_EVENT_COUNT;
}

bool hk_further_is_open(const hk_further_t *further, uint8_t place, uint64_t samples_heard)
{
    const hk_further_event_t *event = &further->events[place];
    return event->event != HK_EVENT_COUNT
           && age(event, samples_heard) <= HK_FURTHER_WORDS_SECONDS * HK_STEPS_PER_SECOND;
}

bool hk_further_has_open(const hk_further_t *further, uint64_t samples_heard)
{
    for (uint8_t i = 0; i < HK_FURTHER_EVENTS_MAX; i++) {
        if (hk_further_is_open(further, i, samples_heard)) {
            return true;
        }
    }
    return false;
}

bool hk_further_is_due(const hk_further_t *further, uint64_t samples_heard)
{
    return samples_heard >= further->next_sample + HK_FURTHER_WORDS_MAX * HK_FINGERPRINT_WORD_SAMPLES
           && hk_further_has_open(further, samples_heard);
}

bool hk_further_next(hk_further_t *further, const hk_listener_words_t *words, uint64_t samples_heard,
                     uint8_t usable[(HK_FURTHER_WORDS_MAX + 7) / 8], hk_further_words_t *message)
{
    const uint64_t next = further->next_sample;
    uint32_t first = 0; /* what the ring holds no longer was lost while there was no connection */
    if (next > words->first_sample) {
        const uint64_t skipped = (next - words->first_sample + HK_FINGERPRINT_WORD_SAMPLES - 1) / HK_FINGERPRINT_WORD_SAMPLES;
        first = skipped < words->count ? (uint32_t)skipped : words->count;
    }
    const uint32_t left = words->count - first;
    const uint32_t count = left < HK_FURTHER_WORDS_MAX ? left : HK_FURTHER_WORDS_MAX;
    memset(usable, 0, (HK_FURTHER_WORDS_MAX + 7) / 8);
    for (uint32_t n = 0; n < count; n++) {
        const uint32_t bit = (words->usable[(first + n) / 8] >> ((first + n) % 8)) & 1u;
        usable[n / 8] = (uint8_t)(usable[n / 8] | bit << (n % 8));
    }
    *message = (hk_further_words_t){
        .fingerprint = {
            .first_sample = words->first_sample + (uint64_t)first * HK_FINGERPRINT_WORD_SAMPLES,
            .step_samples = HK_FINGERPRINT_WORD_SAMPLES,
            .word_count = (uint16_t)count,
            .words = words->words + first,
            .reliable = words->reliable + first,
            .usable = usable,
        },
        .media = further->hint,
    };
    for (uint8_t i = 0; i < HK_FURTHER_EVENTS_MAX; i++) {
        if (hk_further_is_open(further, i, samples_heard)) {
            message->event_ids[message->event_count++] = further->events[i].event_id;
        }
    }
    further->next_sample = message->fingerprint.first_sample + (uint64_t)count * HK_FINGERPRINT_WORD_SAMPLES;
    return count > 0 && message->event_count > 0;
}
