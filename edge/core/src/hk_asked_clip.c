#include "hk_asked_clip.h"

#include <string.h>

#include "hk_frontend_tables.h"
#include "hk_limits.h"

enum {
    REST_STEPS = HK_ASKED_CLIP_REST_SECONDS * HK_STEPS_PER_SECOND,
    WAIT_STEPS = HK_ASKED_CLIP_WAIT_SECONDS * HK_STEPS_PER_SECOND,
    SHOWN_STEPS = HK_ASKED_CLIP_SHOWN_SECONDS * HK_STEPS_PER_SECOND,
    BEFORE_STEPS = HK_CLIP_BEFORE_TRIGGER_SECONDS * HK_STEPS_PER_SECOND,
};

_Static_assert(REST_STEPS > WAIT_STEPS + SHOWN_STEPS, "one is over before the next");

static uint32_t step_of(uint64_t samples_heard)
{
    return (uint32_t)(samples_heard / HK_STEP_SAMPLES);
}

void hk_asked_clip_init(hk_asked_clip_t *asked)
{
    memset(asked, 0, sizeof *asked);
}

bool hk_asked_clip_take(hk_asked_clip_t *asked, const uint8_t event_id[HK_EVENT_ID_BYTES], uint64_t samples_heard)
{
    const uint32_t now = step_of(samples_heard);
    const bool is_again = asked->was_asked && memcmp(asked->event_id, event_id, HK_EVENT_ID_BYTES) == 0;
    if (is_again || (asked->was_asked && now - asked->asked_step < REST_STEPS)) {
        return false;
    }
    *asked = (hk_asked_clip_t){.asked_step = now, .shown_until_step = now + SHOWN_STEPS, .was_asked = true, .is_waiting = true};
    memcpy(asked->event_id, event_id, HK_EVENT_ID_BYTES);
    return true;
}

void hk_asked_clip_heard(hk_asked_clip_t *asked, hk_clip_slot_t *slot, uint64_t samples_heard)
{
    const uint32_t now = step_of(samples_heard);
    const uint32_t waited = now - asked->asked_step;
    if (!asked->is_waiting || waited < BEFORE_STEPS) {
        return;
    }
    const bool is_claimed = hk_clip_slot_ask(slot, asked->event_id, samples_heard) == 0;
    asked->is_waiting = !is_claimed && waited < WAIT_STEPS;
    if (is_claimed) {
        asked->shown_until_step = now - BEFORE_STEPS + SHOWN_STEPS;
    }
}

bool hk_asked_clip_is_shown(const hk_asked_clip_t *asked, uint64_t samples_heard)
{
    const uint32_t left = asked->shown_until_step - step_of(samples_heard);
    return asked->is_waiting || (asked->was_asked && left > 0 && left <= SHOWN_STEPS);
}
