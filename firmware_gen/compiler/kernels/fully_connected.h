/* int8 FULLY_CONNECTED. The input's zero point is folded into the bias; firmware_gen has proved that sums stay under
 * 2^30 when they are shifted left. */

/* Adds up one row of weights times the input. */
static inline int32_t hk_dense_row(int32_t sum, const int8_t *weights, const int8_t *in, uint32_t columns)
{
#if HK_HAS_MVE
    uint32_t column = 0;
    for (; column + 16 <= columns; column += 16) {
        sum = vmladavaq_s8(sum, vldrbq_s8(weights + column), vldrbq_s8(in + column));
    }
    if (column < columns) {
        const mve_pred16_t rest = vctp8q(columns - column);
        sum = vmladavaq_s8(sum, vldrbq_z_s8(weights + column, rest), vldrbq_z_s8(in + column, rest));
    }
#else
    uint32_t column = 0;
#if HK_HAS_DSP
    for (; column + 4 <= columns; column += 4) {
        uint32_t four_weights;
        uint32_t four_values;
        uint32_t w;
        uint32_t x;
        memcpy(&four_weights, weights + column, sizeof four_weights);
        memcpy(&four_values, in + column, sizeof four_values);
        __asm__("sxtb16 %0, %1" : "=r"(w) : "r"(four_weights));
        __asm__("sxtb16 %0, %1" : "=r"(x) : "r"(four_values));
        __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(w), "r"(x));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(w) : "r"(four_weights));
        __asm__("sxtb16 %0, %1, ror #8" : "=r"(x) : "r"(four_values));
        __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(w), "r"(x));
    }
#else
    for (; column + 4 <= columns; column += 4) {
        const int8_t *w = weights + column;
        const int8_t *x = in + column;
        sum += w[0] * x[0];
        sum += w[1] * x[1];
        sum += w[2] * x[2];
        sum += w[3] * x[3];
    }
#endif
    for (; column < columns; column++) {
        sum += weights[column] * in[column];
    }
#endif
    return sum;
}

/* One copy for all layers, so that code stays small. */
static __attribute__((noinline, unused)) void hk_fully_connected(const int8_t *weights, const int32_t *bias,
                                                                 const hk_scale_t *scales, uint32_t scale_step,
                                                                 uint32_t rows, uint32_t columns, int32_t zero_point,
                                                                 int32_t least, int32_t greatest, const int8_t *in,
                                                                 int8_t *out)
{
    for (uint32_t row = 0; row < rows; row++) {
        const int32_t sum = hk_dense_row(bias[row], weights, in, columns);
        weights += columns;
        out[row] = (int8_t)hk_clamp(hk_requantize_bounded(sum, scales[row * scale_step]) + zero_point, least, greatest);
    }
}
