/* From one step of PCM to the score of every event: front end, trunk, heads.
 *
 * The application, the replay program and the host library all listen through this, so that what is compared is what
 * runs. The caller owns the state, nothing is allocated, and the same PCM gives the same bytes on every machine. */
#ifndef HK_DETECTOR_H
#define HK_DETECTOR_H

#include <stdint.h>

#include "hk_catalogue.h"
#include "hk_engine.h"
#include "hk_frontend.h"
#include "hk_head.h"
#include "hk_limits.h"

#define HK_STEP_FEATURES (HK_FRAMES_PER_STEP * HK_MEL_BANDS)

/* Those of the catalogue, and one that it lacks. */
#define HK_HEADS_MAX (HK_EVENT_COUNT + 1u)
#define HK_EVENT_ADDED HK_EVENT_COUNT /* index of the event that the catalogue lacks */

typedef struct {
    hk_frontend_t frontend; /* after a step: with the spectrum of the step's second frame */
    hk_engine_t engine;
    hk_head_t heads[HK_HEADS_MAX];
    uint8_t head_events[HK_HEADS_MAX]; /* catalogue index of each head's event, or HK_EVENT_ADDED */
    uint8_t head_count;
    /* Of the last step: */
    hk_frame_t frames[HK_FRAMES_PER_STEP];
    int8_t features[HK_STEP_FEATURES];
    int8_t trunk[HK_ENGINE_OUTPUT_BYTES];
    uint8_t head_scores[HK_HEADS_MAX];  /* in the order of the heads */
    uint8_t event_scores[HK_HEADS_MAX]; /* in the order of the catalogue, then HK_EVENT_ADDED; 0 without a head */
} hk_detector_t;

/* Called between the frames of a step, while the front end holds that frame's spectrum. May be NULL. */
typedef void (*hk_detector_on_frame_t)(void *context, const hk_frontend_t *frontend, const hk_frame_t *frame);

/* Opens the heads that the image was built with and starts a stream.
 * Returns 0 or the first head's error: HK_ERROR_MISMATCH for another trunk's head, HK_ERROR_UNKNOWN for an event that
 * the catalogue lacks, and those of hk_head_open. */
int hk_detector_init(hk_detector_t *detector);

/* Takes opened heads that were not built in: each instead of its event's own, or, if the catalogue lacks the event, beside
 * all. Their blobs stay where they are for as long as the heads are used. Those taken before are dropped, and their events'
 * own are back. Returns 0; HK_ERROR_MISMATCH where one is another trunk's, HK_ERROR_FULL where the catalogue lacks more than
 * one of their events; it then changes nothing. */
int hk_detector_take_heads(hk_detector_t *detector, const hk_head_t *heads, size_t count);

/* The head of an event, HK_EVENT_ADDED or one of the catalogue; NULL if it has none. */
const hk_head_t *hk_detector_head(const hk_detector_t *detector, uint8_t event);

/* Hears one step (20 ms) and fills in what "of the last step" lists. */
void hk_detector_step(hk_detector_t *detector, const int16_t pcm[HK_STEP_SAMPLES], hk_detector_on_frame_t on_frame,
                      void *context);

#endif
