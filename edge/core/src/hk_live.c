#include "hk_live.h"

#include <string.h>

#include "hk_frontend_tables.h"

enum {
    LASTS_STEPS = HK_LIVE_SECONDS * HK_STEPS_PER_SECOND,
    BETWEEN_STEPS = HK_STEPS_PER_SECOND / HK_LIVE_PER_SECOND,
};

static uint32_t step_of(uint64_t samples_heard)
{
    return (uint32_t)(samples_heard / HK_STEP_SAMPLES);
}

void hk_live_init(hk_live_t *live)
{
    memset(live, 0, sizeof *live);
}

void hk_live_on(hk_live_t *live, uint64_t samples_heard)
{
    const uint32_t now = step_of(samples_heard);
    if (!live->is_on) {
        hk_live_init(live);
        live->next_step = now;
    }
    live->until_step = now + LASTS_STEPS;
    live->is_on = true;
}

void hk_live_off(hk_live_t *live)
{
    live->is_on = false;
}

bool hk_live_heard(hk_live_t *live, const hk_tracker_t *tracker, uint64_t samples_heard)
{
    const uint32_t now = step_of(samples_heard);
    if (!live->is_on) {
        return false;
    }
    if ((int32_t)(now - live->until_step) >= 0) {
        live->is_on = false;
        return false;
    }
    for (uint8_t i = 0; i < HK_EVENT_COUNT; i++) {
        const uint8_t score = hk_tracker_score(tracker, i);
        live->peaks[i] = score > live->peaks[i] ? score : live->peaks[i];
    }
    return (int32_t)(now - live->next_step) >= 0;
}

void hk_live_next(hk_live_t *live, const hk_tracker_t *tracker, uint64_t samples_heard, hk_live_scores_t *message)
{
    message->samples_heard = samples_heard;
    memcpy(message->scores, live->peaks, sizeof message->scores);
    for (uint8_t i = 0; i < HK_EVENT_COUNT; i++) {
        message->thresholds[i] = hk_tracker_threshold(tracker, i);
    }
    memset(live->peaks, 0, sizeof live->peaks);
    live->next_step = step_of(samples_heard) + BETWEEN_STEPS;
}
