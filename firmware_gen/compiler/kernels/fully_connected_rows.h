/* int8 FULLY_CONNECTED of several rows. `room` is for the input as int16 in whole blocks. */
static inline void hk_fully_connected_rows(const hk_rows_weight_t *weights, const int32_t *bias, const hk_scale_t *scales,
                                           uint32_t scale_step, uint32_t rows, uint32_t columns, int32_t zero_point,
                                           int32_t least, int32_t greatest, const int8_t *in, int8_t *out, int16_t *room)
{
    const hk_rows_value_t *values = hk_rows_values(in, columns, room);
    hk_rows(weights, bias, scales, scale_step, rows, columns, zero_point, least, greatest, values, out);
}
