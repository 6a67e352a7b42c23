#include "hk_siren.h"

#include <string.h>

#include "hk_frontend_tables.h"
#include "hk_limits.h"

enum {
    LASTS_STEPS = HK_SIREN_SECONDS * HK_STEPS_PER_SECOND,
    SOUNDS_STEPS = HK_SIREN_SOUNDS_SECONDS * HK_STEPS_PER_SECOND,
    PERIOD_STEPS = (HK_SIREN_SOUNDS_SECONDS + HK_SIREN_PAUSES_SECONDS) * HK_STEPS_PER_SECOND,
    FRESH_STEPS = HK_SIREN_CAUSE_SECONDS * HK_STEPS_PER_SECOND,
};

_Static_assert(HK_SIREN_PAUSES_SECONDS >= 6, "a period of T4 is nearly 6 s, one of T3 is 4 s");

static uint32_t step_of(uint64_t samples_heard)
{
    return (uint32_t)(samples_heard / HK_STEP_SAMPLES);
}

static void forget(hk_siren_t *siren, uint8_t place)
{
    siren->cause_count--;
    memmove(siren->causes + place, siren->causes + place + 1, (siren->cause_count - place) * sizeof siren->causes[0]);
}

void hk_siren_init(hk_siren_t *siren)
{
    memset(siren, 0, sizeof *siren);
}

void hk_siren_note(hk_siren_t *siren, uint32_t seq, uint64_t samples_heard)
{
    if (siren->is_on) {
        return;
    }
    if (siren->cause_count == HK_SIREN_CAUSES) {
        forget(siren, 0);
    }
    siren->causes[siren->cause_count++] = (hk_siren_cause_t){.seq = seq, .step = step_of(samples_heard)};
}

bool hk_siren_on(hk_siren_t *siren, uint32_t seq, uint64_t samples_heard)
{
    for (uint8_t i = 0; i < siren->cause_count; i++) {
        if (siren->causes[i].seq == seq) {
            const uint32_t age = step_of(samples_heard) - siren->causes[i].step;
            forget(siren, i);
            if (age < FRESH_STEPS) {
                siren->is_on = true;
                siren->since_step = step_of(samples_heard);
            }
            return age < FRESH_STEPS;
        }
    }
    return false;
}

void hk_siren_off(hk_siren_t *siren)
{
    hk_siren_init(siren);
}

void hk_siren_heard(hk_siren_t *siren, uint64_t samples_heard)
{
    if (siren->is_on && step_of(samples_heard) - siren->since_step >= LASTS_STEPS) {
        siren->is_on = false;
    }
}

bool hk_siren_is_sounding(const hk_siren_t *siren, uint64_t samples_heard)
{
    return siren->is_on && (step_of(samples_heard) - siren->since_step) % PERIOD_STEPS < SOUNDS_STEPS;
}
