#include "hk_host.h"

#include <string.h>

#include "hk_catalogue.h"
#include "hk_clip_ring.h"
#include "hk_error.h"
#include "hk_fingerprint.h"
#include "hk_frontend.h"
#include "hk_tracker_params.h"

typedef struct {
    hk_frontend_t frontend;
    hk_fingerprint_t fingerprint;
} fingerprinter_t;

size_t hk_host_frontend_bytes(void)
{
    return sizeof(hk_frontend_t);
}

size_t hk_host_fingerprinter_bytes(void)
{
    return sizeof(fingerprinter_t);
}

size_t hk_host_clip_ring_bytes(void)
{
    return sizeof(hk_clip_ring_t);
}

void hk_host_frontend_init(void *frontend)
{
    hk_frontend_init(frontend);
}

void hk_host_frontend_run(void *frontend, const int16_t *pcm, size_t hops, int16_t *log_mel_q8, int8_t *features)
{
    for (size_t hop = 0; hop < hops; hop++) {
        hk_frame_t frame;
        hk_frontend_push(frontend, pcm + hop * HK_HOP_SAMPLES, &frame);
        if (log_mel_q8 != NULL) {
            memcpy(log_mel_q8 + hop * HK_MEL_BANDS, frame.log_mel_q8, sizeof frame.log_mel_q8);
        }
        if (features != NULL) {
            hk_frame_features(&frame, features + hop * HK_MEL_BANDS);
        }
    }
}

void hk_host_fingerprinter_init(void *fingerprinter)
{
    fingerprinter_t *both = fingerprinter;
    hk_frontend_init(&both->frontend);
    hk_fingerprint_init(&both->fingerprint);
}

size_t hk_host_fingerprinter_run(void *fingerprinter, const int16_t *pcm, size_t hops, uint32_t *words,
                                 uint32_t *reliable, uint8_t *is_usable)
{
    fingerprinter_t *both = fingerprinter;
    size_t count = 0;
    for (size_t hop = 0; hop < hops; hop++) {
        hk_frame_t frame;
        hk_frontend_push(&both->frontend, pcm + hop * HK_HOP_SAMPLES, &frame);
        hk_fingerprint_word_t word;
        if (hk_fingerprint_push(&both->fingerprint, &both->frontend, &word) == 1) {
            words[count] = word.bits;
            reliable[count] = word.reliable;
            is_usable[count++] = word.is_usable;
        }
    }
    return count;
}

void hk_host_adpcm_encode(const int16_t *pcm, size_t blocks, uint8_t *data)
{
    hk_adpcm_t coder = {0};
    for (size_t block = 0; block < blocks; block++) {
        hk_adpcm_encode_block(&coder, pcm + block * HK_CLIP_BLOCK_SAMPLES, data + block * HK_CLIP_BLOCK_BYTES);
    }
}

int hk_host_adpcm_decode(const uint8_t *data, size_t blocks, int16_t *pcm, size_t *bad_block)
{
    for (size_t block = 0; block < blocks; block++) {
        const int result =
            hk_adpcm_decode_block(data + block * HK_CLIP_BLOCK_BYTES, pcm + block * HK_CLIP_BLOCK_SAMPLES);
        if (result != HK_OK) {
            *bad_block = block;
            return result;
        }
    }
    return HK_OK;
}

static void take_frames(const int16_t *log_mel_q8, size_t step, hk_frame_t frames[2])
{
    for (size_t n = 0; n < 2; n++) {
        memcpy(frames[n].log_mel_q8, log_mel_q8 + (2 * step + n) * HK_MEL_BANDS, sizeof frames[n].log_mel_q8);
    }
}

void hk_host_brief_beeps(const int16_t *log_mel_q8, size_t steps, uint8_t *is_brief)
{
    const hk_tracker_params_t *params = &hk_tracker_default_params;
    const size_t interval = params->cadence_interval_ms / HK_TRACKER_STEP_MS;
    hk_cadence_state_t cadence;
    hk_cadence_evidence_t evidence = { .kind = HK_CADENCE_NONE };
    hk_cadence_init(&cadence);
    for (size_t step = 0; step < steps; step++) {
        hk_frame_t frames[2];
        take_frames(log_mel_q8, step, frames);
        hk_cadence_push(&cadence, frames);
        if (step % interval == 0) {
            hk_cadence_analyze(&cadence, &evidence);
        }
        is_brief[step] = hk_tracker_is_brief(&evidence, &params->alarm);
    }
}

int hk_host_track(const hk_tracker_alarm_params_t *alarm, uint8_t hint_confidence, const uint8_t *thresholds,
                  const int16_t *log_mel_q8, const uint8_t *scores, size_t steps, hk_event_record_t *events, size_t room)
{
    hk_tracker_params_t params = hk_tracker_default_params;
    params.alarm = *alarm;
    params.hint_confidence = hint_confidence;
    for (size_t i = 0; i < HK_EVENT_COUNT; i++) {
        memset(params.events[i].thresholds, thresholds[i], HK_TRACKER_SENSITIVITIES);
        params.events[i].sensitivity = HK_SENSITIVITY_NORMAL;
        params.events[i].is_enabled = true;
    }
    hk_tracker_t tracker;
    const int status = hk_tracker_init(&tracker, &params);
    if (status != HK_OK) {
        return status;
    }
    hk_tracker_set_armed(&tracker, true);
    size_t count = 0;
    for (size_t step = 0; step < steps; step++) {
        hk_frame_t frames[2];
        hk_event_t found[HK_TRACKER_EVENTS_MAX];
        take_frames(log_mel_q8, step, frames);
        const size_t now = hk_tracker_step(&tracker, frames, scores + step * HK_EVENT_COUNT,
                                           (uint64_t)(step + 1) * HK_STEP_SAMPLES, found);
        for (size_t n = 0; n < now; n++, count++) {
            if (count < room) {
                events[count] = hk_event_record(&found[n]);
            }
        }
    }
    return (int)count;
}
