/* What is called in place of the parts' functions where the image is split: __wrap_x stands for x, __real_x is x. */
#include "parts.h"

#include <string.h>

#include "../instruction_clock/hk_bench_clock.h"
#include "hk_cadence.h"
#include "hk_clip_ring.h"
#include "hk_engine.h"
#include "hk_fingerprint.h"
#include "hk_frontend.h"
#include "hk_head.h"
#include "hk_tracker.h"

hk_bench_parts_t hk_bench_parts;

static hk_bench_part_t current;
static uint32_t last_look;

static void look(void)
{
    const uint32_t now = hk_bench_ticks();
    hk_bench_parts.ticks[current] += (now - last_look) & hk_bench_tick_mask;
    last_look = now;
}

void hk_bench_parts_restart(void)
{
    memset(&hk_bench_parts, 0, sizeof hk_bench_parts);
    current = HK_BENCH_OTHER;
    last_look = hk_bench_ticks();
}

hk_bench_part_t hk_bench_enter(hk_bench_part_t part)
{
    const hk_bench_part_t caller = current;
    look();
    hk_bench_parts.calls[part]++;
    hk_bench_parts.nested[caller]++;
    current = part;
    return caller;
}

void hk_bench_leave(hk_bench_part_t caller)
{
    look();
    current = caller;
}

#define WRAP_PROCEDURE(part, name, parameters, arguments)                                                              \
    void __real_##name parameters;                                                                                     \
    void __wrap_##name parameters;                                                                                     \
    void __wrap_##name parameters                                                                                      \
    {                                                                                                                  \
        const hk_bench_part_t caller = hk_bench_enter(part);                                                           \
        __real_##name arguments;                                                                                       \
        hk_bench_leave(caller);                                                                                        \
    }

#define WRAP_FUNCTION(part, type, name, parameters, arguments)                                                         \
    type __real_##name parameters;                                                                                     \
    type __wrap_##name parameters;                                                                                     \
    type __wrap_##name parameters                                                                                      \
    {                                                                                                                  \
        const hk_bench_part_t caller = hk_bench_enter(part);                                                           \
        const type result = __real_##name arguments;                                                                   \
        hk_bench_leave(caller);                                                                                        \
        return result;                                                                                                 \
    }

WRAP_PROCEDURE(HK_BENCH_CLIP_RING, hk_clip_ring_push, (hk_clip_ring_t * ring, const int16_t *pcm, size_t count),
               (ring, pcm, count))
WRAP_PROCEDURE(HK_BENCH_FRONT_END, hk_frontend_push,
               (hk_frontend_t * frontend, const int16_t pcm[HK_HOP_SAMPLES], hk_frame_t *frame), (frontend, pcm, frame))
WRAP_PROCEDURE(HK_BENCH_FRONT_END, hk_frame_features, (const hk_frame_t *frame, int8_t features[HK_MEL_BANDS]),
               (frame, features))
WRAP_FUNCTION(HK_BENCH_FINGERPRINT, int, hk_fingerprint_push,
              (hk_fingerprint_t * fingerprint, const hk_frontend_t *frontend, hk_fingerprint_word_t *word),
              (fingerprint, frontend, word))
WRAP_PROCEDURE(HK_BENCH_ENGINE, hk_engine_step, (hk_engine_t * engine, const int8_t *in, int8_t *out),
               (engine, in, out))
WRAP_PROCEDURE(HK_BENCH_HEADS, hk_head_score,
               (const hk_head_t *heads, size_t count, const int8_t *trunk, uint8_t *scores),
               (heads, count, trunk, scores))
WRAP_FUNCTION(HK_BENCH_TRACKER, size_t, hk_tracker_step,
              (hk_tracker_t * tracker, const hk_frame_t frames[2], const uint8_t *scores, uint64_t sample,
               hk_event_t out[HK_TRACKER_EVENTS_MAX]),
              (tracker, frames, scores, sample, out))
WRAP_PROCEDURE(HK_BENCH_CADENCE_HISTORY, hk_cadence_push, (hk_cadence_state_t * cadence, const hk_frame_t frames[2]),
               (cadence, frames))
WRAP_PROCEDURE(HK_BENCH_CADENCE_ANALYSIS, hk_cadence_analyze,
               (const hk_cadence_state_t *cadence, hk_cadence_evidence_t *out), (cadence, out))
WRAP_PROCEDURE(HK_BENCH_NOTHING, hk_bench_nothing, (const void *a, const void *b, const void *c), (a, b, c))
