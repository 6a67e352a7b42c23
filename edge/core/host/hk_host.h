/* What the Python face calls: the core's modules over whole recordings, one call for a loop. Host only.
 *
 * States are opaque here: the caller allocates hk_host_…_bytes() bytes, aligned to 8. */
#ifndef HK_HOST_H
#define HK_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "../apps/event_record.h"

size_t hk_host_frontend_bytes(void);
size_t hk_host_fingerprinter_bytes(void);
size_t hk_host_clip_ring_bytes(void);

/* Starts a stream of log-mel frames. */
void hk_host_frontend_init(void *frontend);

/* Runs `hops` hops of PCM through a front end. Either output may be NULL.
 * log_mel_q8: int16[hops][HK_MEL_BANDS]; features: int8[hops][HK_MEL_BANDS]. */
void hk_host_frontend_run(void *frontend, const int16_t *pcm, size_t hops, int16_t *log_mel_q8, int8_t *features);

/* Starts a stream of fingerprint words: a front end and a fingerprinter. */
void hk_host_fingerprinter_init(void *fingerprinter);

/* Runs `hops` hops of PCM through it; words and reliable: uint32[(hops + 1) / 2], is_usable: uint8 of the same
 * count. Returns how many words were written. */
size_t hk_host_fingerprinter_run(void *fingerprinter, const int16_t *pcm, size_t hops, uint32_t *words,
                                 uint32_t *reliable, uint8_t *is_usable);

/* Codes `blocks` blocks of HK_CLIP_BLOCK_SAMPLES samples; the step index starts at 0. */
void hk_host_adpcm_encode(const int16_t *pcm, size_t blocks, uint8_t *data);

/* Decodes `blocks` blocks. Returns 0, or an error with *bad_block set to the block that cannot be decoded. */
int hk_host_adpcm_decode(const uint8_t *data, size_t blocks, int16_t *pcm, size_t *bad_block);

/* Says of each step, two frames, whether what has been heard so far beats like an appliance: hk_tracker_is_brief with the
 * device's parameters. log_mel_q8: int16[2 * steps][HK_MEL_BANDS]; is_brief: uint8[steps]. */
void hk_host_brief_beeps(const int16_t *log_mel_q8, size_t steps, uint8_t *is_brief);

/* Lets a tracker from rest, every event on and armed at normal sensitivity, hear `steps` steps again: the very triggers of a
 * device that heard these frames and had these scores, with other parameters. log_mel_q8: int16[2 * steps][HK_MEL_BANDS];
 * scores: uint8[steps][HK_EVENT_COUNT]; thresholds: of each event, normal sensitivity; events: room for `room` of them.
 * Returns how many there were, of which no more than `room` are written, or an error of hk_tracker_init. */
int hk_host_track(const hk_tracker_alarm_params_t *alarm, uint8_t hint_confidence, const uint8_t *thresholds,
                  const int16_t *log_mel_q8, const uint8_t *scores, size_t steps, hk_event_record_t *events, size_t room);

#endif
