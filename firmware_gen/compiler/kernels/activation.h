/* Sigmoid and tanh of int16 values by the table that TFLM's int16 LOGISTIC and TANH use.
 *
 * TFLM interpolates between entries i and i + 1 of sigmoid(i/24). Here each stretch is a line, start + slope * x, exact
 * in integers: sigmoid - 1/2 in Q0.25 of a magnitude x in units of 1/(24 * 2^9). Past the last entry the slope is 0. */
#if !HK_LSTM_VECTOR

typedef struct {
    int32_t start;
    int32_t slope;
} hk_line_t;

/* Both halves by one address, so that one instruction can load them where there is such. */
static inline hk_line_t hk_line(const hk_line_t *lines, uint32_t index)
{
    const hk_line_t *line = lines + index;
    HK_KEEP_IN_REGISTER(line);
    return *line;
}

/* Q3.12 to Q0.15. The index stays below 193 for any int16. */
static inline int32_t hk_sigmoid(const hk_line_t *lines, int32_t x)
{
    const int32_t scaled = 3 * x;
    const int32_t sign = scaled >> 31;
    const int32_t magnitude = (scaled ^ sign) - sign;
    const hk_line_t line = hk_line(lines, (uint32_t)magnitude >> 9);
    const int32_t y = line.start + line.slope * magnitude;
    return ((y ^ sign) + (1 << 24) + (1 << 9)) >> 10;
}

/* int16 to Q0.15, where x * multiplier / 2^shift is the argument in units of 1/(3 * 2^12). tanh(x) = 2 sigmoid(2x) - 1,
 * so that its argument counts double; `start` is even and halves exactly. */
static inline int32_t hk_tanh(const hk_line_t *lines, int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t scaled = (x * multiplier + (shift > 0 ? 1 << (shift - 1) : 0)) >> shift;
    const int32_t sign = scaled >> 31;
    const int32_t full = (scaled ^ sign) - sign;
    const bool reaches_the_end = ((INT64_C(32768) * multiplier) >> shift) >= 0xffff;
    const int32_t magnitude = reaches_the_end ? hk_saturate_u16(full) : full;
    const hk_line_t line = hk_line(lines, (uint32_t)magnitude >> 8);
    const int32_t y = (line.start >> 1) + line.slope * magnitude;
    return ((y ^ sign) + (1 << 7)) >> 8;
}

#else

/* Eight at once. A value's magnitude times 3/2^9 or 3/2^8 has the index in the product's upper half and the place within
 * the stretch in the lower, as a fraction of 2^16. */
typedef struct {
    uint16_t values[256]; /* sigmoid in Q0.16 where a stretch starts */
    uint16_t slopes[256]; /* what it gains along the stretch */
} hk_stretches_t;

HK_LSTM_INLINE uint16x8_t hk_magnitude(int16x8_t x)
{
    return vreinterpretq_u16_s16(vabsq_s16(x)); /* that of -32768 is 32768 */
}

/* `positive` where x is not negative, 2^15 - positive elsewhere. */
HK_LSTM_INLINE int16x8_t hk_sigmoid_eight(const hk_stretches_t *stretches, int16x8_t x)
{
    const uint16_t scale = 3 << 7;
    const uint16x8_t magnitude = hk_magnitude(x);
    const uint16x8_t index = vmulhq_u16(magnitude, vdupq_n_u16(scale));
    const uint16x8_t value = vldrhq_gather_shifted_offset_u16(stretches->values, index);
    const uint16x8_t slope = vldrhq_gather_shifted_offset_u16(stretches->slopes, index);
    const uint16x8_t gained = vmulhq_u16(vmulq_n_u16(magnitude, scale), slope);
    const uint16x8_t positive = vrhaddq_u16(value, gained);
    return vreinterpretq_s16_u16(vsubq_m_u16(positive, vdupq_n_u16(0x8000), positive, vcmpltq_n_s16(x, 0)));
}

/* The argument is as hk_tanh() takes it: the multiplier is 3 * 2^left with a shift of 0, or 3 with any shift. */
HK_LSTM_INLINE int16x8_t hk_tanh_eight(const hk_stretches_t *stretches, int16x8_t x, int32_t multiplier, int32_t shift)
{
    uint16x8_t index;
    uint16x8_t within;
    if (shift == 0) {
        const uint16_t scale = (uint16_t)(multiplier << 8);
        const uint16x8_t magnitude = hk_magnitude(x);
        index = vminq_u16(vmulhq_u16(magnitude, vdupq_n_u16(scale)), vdupq_n_u16(255)); /* where the slope is 0 */
        within = vmulq_n_u16(magnitude, scale);
    } else {
        const uint16x8_t magnitude = shift == 1
                                         ? vaddq_u16(hk_magnitude(x), hk_magnitude(vrshrq_n_s16(x, 1)))
                                         : hk_magnitude(vqrdmulhq_n_s16(x, (int16_t)((3 << 15) >> shift)));
        index = vshrq_n_u16(magnitude, 8);
        within = vshlq_n_u16(magnitude, 8);
    }
    const uint16x8_t value = vldrhq_gather_shifted_offset_u16(stretches->values, index);
    const uint16x8_t slope = vldrhq_gather_shifted_offset_u16(stretches->slopes, index);
    const int16x8_t positive =
        vreinterpretq_s16_u16(vsubq_n_u16(vaddq_u16(value, vrmulhq_u16(within, slope)), 0x8000));
    return vnegq_m_s16(positive, positive, vcmpltq_n_s16(x, 0));
}

#endif
