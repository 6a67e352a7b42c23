#include "hk_detector.h"

#include <string.h>

#include "hk_default_heads.h"
#include "hk_error.h"

_Static_assert(HK_ENGINE_INPUT_BYTES == HK_STEP_FEATURES, "the model's input must be the features of one step");
_Static_assert(HK_EVENT_COUNT <= HK_SCORES_MAX, "a trigger must be able to name every event's score");

int hk_detector_init(hk_detector_t *detector)
{
    memset(detector, 0, sizeof *detector);
    if (hk_default_head_count > HK_EVENT_COUNT) {
        return HK_ERROR_TOO_LARGE;
    }
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
    const int status = hk_engine_open();
    if (status != 0) {
        return status;
    }
    hk_frontend_init(&detector->frontend);
    hk_engine_reset(&detector->engine);
    return 0;
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
