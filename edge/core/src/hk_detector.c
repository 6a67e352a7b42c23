#include "hk_detector.h"

#include <string.h>

#include "hk_default_heads.h"
#include "hk_error.h"

_Static_assert(HK_ENGINE_INPUT_BYTES == HK_STEP_FEATURES, "the model's input must be the features of one step");
_Static_assert(HK_EVENT_COUNT <= HK_SCORES_MAX, "a trigger must be able to name every event's score");

static int open_built_in_heads(hk_detector_t *detector)
{
    detector->head_count = 0;
    memset(detector->event_scores, 0, sizeof detector->event_scores);
    for (uint8_t i = 0; i < hk_default_head_count; i++) {
        hk_head_t *head = &detector->heads[i];
        int status = hk_head_open(head, hk_default_heads[i].blob, hk_default_heads[i].len);
        if (status == 0) {
            status = hk_head_check_trunk(head, hk_trunk_hash, HK_ENGINE_OUTPUT_BYTES);
        }
        if (status == 0) {
            status = hk_catalogue_find(head->event_name, strlen(head->event_name), &detector->head_events[i]);
        }
        if (status != 0) {
            return status;
        }
        detector->head_count++;
    }
    return 0;
}

int hk_detector_init(hk_detector_t *detector)
{
    memset(detector, 0, sizeof *detector);
    if (hk_default_head_count > HK_EVENT_COUNT) {
        return HK_ERROR_TOO_LARGE;
    }
    int status = open_built_in_heads(detector);
    if (status == 0) {
        status = hk_engine_open();
    }
    if (status != 0) {
        return status;
    }
    hk_frontend_init(&detector->frontend);
    hk_engine_reset(&detector->engine);
    return 0;
}

static uint8_t event_of(const hk_head_t *head)
{
    uint8_t event;
    return hk_catalogue_find(head->event_name, strlen(head->event_name), &event) == 0 ? event : (uint8_t)HK_EVENT_ADDED;
}

static void put_head(hk_detector_t *detector, const hk_head_t *head)
{
    const uint8_t event = event_of(head);
    uint8_t place = 0;
    while (place < detector->head_count && detector->head_events[place] != event) {
        place++;
    }
    detector->heads[place] = *head;
    detector->head_events[place] = event;
    detector->head_count = (uint8_t)(detector->head_count + (place == detector->head_count ? 1 : 0));
}

int hk_detector_take_heads(hk_detector_t *detector, const hk_head_t *heads, size_t count)
{
    uint32_t added = 0;
    for (size_t i = 0; i < count; i++) {
        if (hk_head_check_trunk(&heads[i], hk_trunk_hash, HK_ENGINE_OUTPUT_BYTES) != 0) {
            return HK_ERROR_MISMATCH;
        }
        added += event_of(&heads[i]) == HK_EVENT_ADDED ? 1u : 0u;
    }
    if (added > 1) {
        return HK_ERROR_FULL;
    }
    const int status = open_built_in_heads(detector); /* opened before, so they open again */
    for (size_t i = 0; status == 0 && i < count; i++) {
        put_head(detector, &heads[i]);
    }
    return status;
}

const hk_head_t *hk_detector_head(const hk_detector_t *detector, uint8_t event)
{
    for (uint8_t i = 0; i < detector->head_count; i++) {
        if (detector->head_events[i] == event) {
            return &detector->heads[i];
        }
    }
    return NULL;
}

void hk_detector_step(hk_detector_t *detector, const int16_t pcm[HK_STEP_SAMPLES], hk_detector_on_frame_t on_frame,
                      void *context)
{
    for (uint32_t i = 0; i < HK_FRAMES_PER_STEP; i++) {
        hk_frontend_push(&detector->frontend, pcm + i * HK_HOP_SAMPLES, &detector->frames[i]);
        hk_frame_features(&detector->frames[i], detector->features + i * HK_MEL_BANDS);
        if (on_frame != NULL) {
            on_frame(context, &detector->frontend, &detector->frames[i]);
        }
    }
    hk_engine_step(&detector->engine, detector->features, detector->trunk);
    hk_head_score(detector->heads, detector->head_count, detector->trunk, detector->head_scores);
    for (uint8_t i = 0; i < detector->head_count; i++) {
        detector->event_scores[detector->head_events[i]] = detector->head_scores[i];
    }
}
