#include "hk_host.h"

#include <string.h>

#include "hk_frontend.h"

size_t hk_host_frontend_bytes(void)
{
    return sizeof(hk_frontend_t);
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
