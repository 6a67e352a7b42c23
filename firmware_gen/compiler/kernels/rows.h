/* Several rows of weights times one vector of values: a dense layer, or filters under a window. Sums stay under 2^30 when
 * they are shifted left: firmware_gen has proved it.
 *
 * Weights are int16 with two rows in each (hk_row_pairs.h), values are int16 in whole blocks. With MVE, which multiplies
 * int8 sixteen at a time, weights are rows of int8 and values int8 as they lie. */
#if HK_HAS_MVE
#define HK_PAIRED_ROWS 0
typedef int8_t hk_rows_weight_t;
typedef int8_t hk_rows_value_t;
#else
#define HK_PAIRED_ROWS 1
typedef int16_t hk_rows_weight_t;
typedef int16_t hk_rows_value_t;
#endif

#if HK_PAIRED_ROWS

enum { HK_ROWS_AT_ONCE = 16 };

/* Returns the values as rows are multiplied with them; `room` is for whole blocks. */
static inline const hk_rows_value_t *hk_rows_values(const int8_t *in, uint32_t columns, int16_t *room)
{
    for (uint32_t i = 0; i < columns; i++) {
        room[i] = in[i];
    }
    for (uint32_t i = columns; i < HK_ROW_PAIRS_COLUMNS(columns); i++) {
        room[i] = 0; /* where the weights are zero too */
    }
    return room;
}

/* scale_step: 0 where all rows share one scale, else 1. */
static __attribute__((noinline, unused)) void hk_rows(const hk_rows_weight_t *weights, const int32_t *bias,
                                                      const hk_scale_t *scales, uint32_t scale_step, uint32_t rows,
                                                      uint32_t columns, int32_t zero_point, int32_t least,
                                                      int32_t greatest, const hk_rows_value_t *values, int8_t *out)
{
    const uint32_t stride = HK_ROW_PAIRS_COLUMNS(columns);
    for (uint32_t row = 0; row < rows; row += HK_ROWS_AT_ONCE) {
        int32_t sums[HK_ROWS_AT_ONCE];
        const uint32_t count = rows - row < HK_ROWS_AT_ONCE ? rows - row : HK_ROWS_AT_ONCE;
        hk_row_pairs_add(weights, values, stride, sums, count);
        weights += HK_ROWS_AT_ONCE / 2 * stride;
        for (uint32_t i = 0; i < count; i++) {
            const int32_t scaled = hk_requantize_bounded(sums[i] + *bias++, *scales);
            scales += scale_step;
            *out++ = (int8_t)hk_clamp(scaled + zero_point, least, greatest);
        }
    }
}

#else

static inline const hk_rows_value_t *hk_rows_values(const int8_t *in, uint32_t columns, int16_t *room)
{
    (void)columns;
    (void)room;
    return in;
}

/* Adds up four rows, `stride` bytes apart. */
static inline int32x4_t hk_rows_four(const int8_t *weights, uint32_t stride, const int8_t *values, uint32_t columns)
{
    int32_t a = 0;
    int32_t b = 0;
    int32_t c = 0;
    int32_t d = 0;
    uint32_t column = 0;
    for (; column + 16 <= columns; column += 16) {
        const int8x16_t x = vldrbq_s8(values + column);
        a = vmladavaq_s8(a, x, vldrbq_s8(weights + column));
        b = vmladavaq_s8(b, x, vldrbq_s8(weights + stride + column));
        c = vmladavaq_s8(c, x, vldrbq_s8(weights + 2 * stride + column));
        d = vmladavaq_s8(d, x, vldrbq_s8(weights + 3 * stride + column));
    }
    if (column < columns) {
        const mve_pred16_t rest = vctp8q(columns - column);
        const int8x16_t x = vldrbq_z_s8(values + column, rest);
        a = vmladavaq_s8(a, x, vldrbq_z_s8(weights + column, rest));
        b = vmladavaq_s8(b, x, vldrbq_z_s8(weights + stride + column, rest));
        c = vmladavaq_s8(c, x, vldrbq_z_s8(weights + 2 * stride + column, rest));
        d = vmladavaq_s8(d, x, vldrbq_z_s8(weights + 3 * stride + column, rest));
    }
    return (int32x4_t){a, b, c, d};
}

/* scale_step: 0 where all rows share one scale, else 1. */
static __attribute__((noinline, unused)) void hk_rows(const hk_rows_weight_t *weights, const int32_t *bias,
                                                      const hk_scale_t *scales, uint32_t scale_step, uint32_t rows,
                                                      uint32_t columns, int32_t zero_point, int32_t least,
                                                      int32_t greatest, const hk_rows_value_t *values, int8_t *out)
{
    const uint32x4_t pairs = vmulq_n_u32(vidupq_n_u32(0, 1), 2 * scale_step); /* a scale is two words */
    const int32x4_t zero = vdupq_n_s32(0);
    for (uint32_t row = 0; row < rows; row += 4) {
        const uint32_t count = rows - row;
        const mve_pred16_t which = vctp32q(count);
        int32x4_t scaled;
        if (count >= 4) {
            scaled = vaddq_s32(hk_rows_four(weights, columns, values, columns), vldrwq_s32(bias + row));
        } else {
            int32_t sums[4] = {0};
            for (uint32_t i = 0; i < count; i++) {
                sums[i] = hk_dense_row(bias[row + i], weights + i * columns, values, columns);
            }
            scaled = vldrwq_s32(sums);
        }
        const int32_t *words = &scales->multiplier;
        const int32x4_t multiplier = vldrwq_gather_shifted_offset_z_s32(words, pairs, which);
        const int32x4_t shift = vldrwq_gather_shifted_offset_z_s32(words + 1, pairs, which);
        const int32x4_t right = vminq_s32(shift, zero);
        const int32x4_t high = vqrdmulhq_s32(vshlq_s32(scaled, vmaxq_s32(shift, zero)), multiplier);
        /* VRSHL rounds halves up; one less, negative values' halves go away from zero. */
        const int32x4_t below = vandq_s32(vshrq_n_s32(high, 31), vshrq_n_s32(right, 31));
        scaled = vaddq_n_s32(vrshlq_s32(vaddq_s32(high, below), right), zero_point);
        scaled = vminq_s32(vmaxq_s32(scaled, vdupq_n_s32(least)), vdupq_n_s32(greatest));
        vstrbq_p_s32(out + row, scaled, which);
        weights += 4 * columns;
        scales += 4 * scale_step;
    }
}

#endif
