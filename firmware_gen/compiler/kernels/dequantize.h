/* int8 to float32. The product of two floats that hold 24 and 9 bits is rounded once, as TFLM's in double is. */
static inline void hk_dequantize(const int8_t *in, void *out, uint32_t count, int32_t zero_point, float scale)
{
    uint8_t *target = out; /* the caller's buffer need not be aligned for floats */
    for (uint32_t i = 0; i < count; i++) {
        const float value = scale * (float)(in[i] - zero_point);
        memcpy(target + i * sizeof value, &value, sizeof value);
    }
}
