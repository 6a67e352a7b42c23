#include "hk_media_guard.h"

#include <string.h>

#include "hk_frontend_tables.h"

static uint32_t step_of(uint64_t samples_heard)
{
    return (uint32_t)(samples_heard / HK_STEP_SAMPLES);
}

static bool is_quiet(const hk_media_guard_t *guard, uint8_t event, uint64_t samples_heard)
{
    const uint32_t until = guard->quiet_until_step[event];
    return until != 0 && (int32_t)(until - step_of(samples_heard)) > 0;
}

void hk_media_guard_hush(hk_media_guard_t *guard, uint8_t event, uint64_t samples_heard)
{
    if (!hk_catalogue[event].is_safety) {
        const uint32_t until = step_of(samples_heard) + HK_MEDIA_QUIET_SECONDS * HK_STEPS_PER_SECOND;
        guard->quiet_until_step[event] = until != 0 ? until : 1;
    }
}

void hk_media_guard_look(const hk_media_set_t *set, bool is_safety, const hk_listener_words_t *words,
                         hk_media_hint_t *hint)
{
    uint32_t reliable[HK_TRIGGER_FINGERPRINT_WORDS];
    for (uint32_t n = 0; n < words->count; n++) {
        const bool counts = !is_safety || ((words->usable[n / 8] >> (n % 8)) & 1u) != 0;
        reliable[n] = counts ? words->reliable[n] : 0;
    }
    const hk_fingerprint_query_t query = {.words = words->words, .reliable = reliable, .count = words->count};
    hk_media_hit_t hit;
    hint->is_set = set->blob != NULL && hk_media_set_find(set, &query, &hit) == 0;
    if (hint->is_set) {
        memcpy(hint->media_id, hk_media_set_id(set, hit.clip), HK_MEDIA_ID_BYTES);
        hint->z_q4 = hk_media_z_q4(&hit.match);
    }
}

bool hk_media_guard_dismisses(hk_media_guard_t *guard, const hk_media_set_t *set, uint8_t event,
                              const hk_listener_words_t *words, uint64_t samples_heard, hk_media_hint_t *hint)
{
    const bool is_safety = hk_catalogue[event].is_safety != 0;
    hint->is_set = false;
    if (!is_safety && is_quiet(guard, event, samples_heard)) {
        guard->dismissed++;
        return true;
    }
    hk_media_guard_look(set, is_safety, words, hint);
    if (is_safety || !hint->is_set) {
        return false;
    }
    guard->dismissed++;
    hk_media_guard_hush(guard, event, samples_heard);
    return true;
}
