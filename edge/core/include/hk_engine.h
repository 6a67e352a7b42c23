/* The trunk of the detector: one step of the neural network for every 20 ms of sound.
 *
 * One header for every engine that can run the trunk. The constants (HK_ENGINE_INPUT_BYTES, HK_ENGINE_OUTPUT_BYTES,
 * HK_ENGINE_STATE_BYTES and the hashes) come from hk_model.h, which firmware_gen writes together with the code.
 *
 * The caller owns the state. A zeroed struct is not a start state: call hk_engine_reset() first. A step allocates
 * nothing, blocks on nothing and, in the compiled engine, touches nothing but its arguments and constants, so several
 * engines may run side by side, each in one thread; those of the TFLM engine share one interpreter and so one thread.
 * The struct is the whole state: a copy of it goes on from where the original stood. Results are those of TensorFlow Lite Micro's reference kernels, byte for byte. */
#ifndef HK_ENGINE_H
#define HK_ENGINE_H

#include <stdint.h>

#include "hk_model.h"

#ifdef __cplusplus
#define HK_ENGINE_ALIGN alignas(8)
#else
#define HK_ENGINE_ALIGN _Alignas(8)
#endif

typedef struct {
    HK_ENGINE_ALIGN uint8_t bytes[HK_ENGINE_STATE_BYTES]; /* recurrent state, then working memory */
} hk_engine_t;

/* Makes the engine ready for steps, once after start; again it does nothing. Returns 0, or a negative hk_error.h value
 * where it cannot run or would answer otherwise than the reference: the compiled engine always can. */
int hk_engine_open(void);

/* Puts the recurrent state where it is before the first sound. */
void hk_engine_reset(hk_engine_t *engine);

/* Runs one step: HK_ENGINE_INPUT_BYTES int8 in, HK_ENGINE_OUTPUT_BYTES int8 out, both in the quantisation that
 * hk_model.h states; the bytes of floats out of a model that ends in DEQUANTIZE. `in` and `out` may have any alignment and must not overlap each other or the engine. */
void hk_engine_step(hk_engine_t *engine, const int8_t *in, int8_t *out);

#endif
