/* One dense layer of a head, with the weights where they lie in the blob and TensorFlow Lite Micro's rounding.
 *
 * An int16 of the weights holds those of two rows, 256 * second + first, so that a core which multiplies int16 adds up both
 * at once: sum 256 * second * x + first * x, and beside it sum first * x, which is what its low byte gives. Kernels for
 * vectors (MVE), for the DSP extension and in plain C, chosen by the compiler's macros; all give the same values.
 * Pure functions; no state, nothing allocated. */
#ifndef HK_DENSE_H
#define HK_DENSE_H

#include <stdint.h>

#include "hk_fixed_point.h"

/* Rows of weights and vectors of values are whole blocks. Beyond the last column weights are zero, values whatever they
 * are. */
#define HK_DENSE_BLOCK 16u
#define HK_DENSE_ROUND_UP(count) (((count) + HK_DENSE_BLOCK - 1u) / HK_DENSE_BLOCK * HK_DENSE_BLOCK)

/* y = clamp(zero point + rescale(bias + sum weight * x), least, greatest), as hk_head.h lays it out and bounds it. All
 * arrays are aligned to 4 and little-endian. */
typedef struct {
    uint32_t inputs;
    uint32_t outputs;
    int32_t zero_point;
    int32_t least;
    int32_t greatest;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
    const int16_t *weights; /* [outputs rounded up to a multiple of 2, / 2][HK_DENSE_ROUND_UP(inputs)] */
} hk_dense_t;

/* Widens `count` values; `in` may have any alignment. */
void hk_dense_load(const int8_t *in, uint32_t count, int16_t *values);

/* Runs a layer. in: whole blocks, aligned to 4. out: `outputs` values of int8, aligned to 4. sums: working memory for as
 * many as there are outputs, and one more. */
void hk_dense_run(const hk_dense_t *layer, const int16_t *in, int32_t *sums, int16_t *out);

#endif
