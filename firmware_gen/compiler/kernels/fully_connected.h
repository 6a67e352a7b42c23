/* int8 FULLY_CONNECTED. The input's zero point is folded into the bias. */

static void hk_fully_connected(const int8_t *weights, const int32_t *bias, const hk_scale_t *scales, uint32_t scale_step,
                               uint32_t rows, uint32_t columns, int32_t zero_point, int32_t least, int32_t greatest,
                               const int8_t *in, int8_t *out)
{
    for (uint32_t row = 0; row < rows; row++) {
        int32_t sum = bias[row];
        for (uint32_t column = 0; column < columns; column++) {
            sum += weights[column] * in[column];
        }
        weights += columns;
        out[row] = (int8_t)hk_clamp(hk_requantize(sum, scales[row * scale_step]) + zero_point, least, greatest);
    }
}
