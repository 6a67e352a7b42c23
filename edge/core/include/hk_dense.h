/* One dense layer of a head, with the weights where they lie in the blob and TensorFlow Lite Micro's rounding.
 *
 * Weights are pairs of rows (hk_row_pairs.h); vectors of values are int16, in whole blocks as they are.
 * Pure functions; no state, nothing allocated. */
#ifndef HK_DENSE_H
#define HK_DENSE_H

#include <stdint.h>

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
    const int16_t *weights; /* [outputs rounded up to a multiple of 2, / 2][HK_ROW_PAIRS_COLUMNS(inputs)] */
} hk_dense_t;

/* Widens `count` values; `in` may have any alignment. */
void hk_dense_load(const int8_t *in, uint32_t count, int16_t *values);

/* Runs a layer. in: whole blocks, aligned to 4. out: `outputs` values of int8, aligned to 4. sums: working memory for as
 * many as there are outputs, and one more. */
void hk_dense_run(const hk_dense_t *layer, const int16_t *in, int32_t *sums, int16_t *out);

#endif
