/* Sigmoid and tanh of int16 values by the table that TFLM's int16 LOGISTIC and TANH use.
 *
 * TFLM interpolates between entries i and i + 1 of sigmoid(i/24). Here each stretch is a line, start + slope * x, exact
 * in integers: sigmoid - 1/2 in Q0.25 of a magnitude x in units of 1/(24 * 2^9). Past the last entry the slope is 0. */
typedef struct {
    int32_t start;
    int32_t slope;
} hk_line_t;

/* Stops the compiler from addressing a table through another object's address, which costs an addition a look-up. */
#define HK_KEEP_IN_REGISTER(pointer) __asm__("" : "+r"(pointer))

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
