/* What the Python face calls: the core's modules over whole recordings, one call for a loop. Host only. */
#ifndef HK_HOST_H
#define HK_HOST_H

#include <stddef.h>
#include <stdint.h>

/* Sizes of the opaque states, in bytes: the caller allocates them. */
size_t hk_host_frontend_bytes(void);

/* Runs `hops` hops of PCM through a front end. Either output may be NULL.
 * log_mel_q8: int16[hops][HK_MEL_BANDS]; features: int8[hops][HK_MEL_BANDS]. */
void hk_host_frontend_run(void *frontend, const int16_t *pcm, size_t hops, int16_t *log_mel_q8, int8_t *features);

#endif
