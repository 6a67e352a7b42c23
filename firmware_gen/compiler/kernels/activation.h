/* Sigmoid and tanh of int16 values by the table that TFLM's int16 LOGISTIC and TANH use.
 * An entry is (sigmoid(i/24) in Q0.16 - 2^15) << 16 | (next entry's value - this one's). */

/* Interpolates between two entries; `bits` is the width of the fraction below the index. Odd around zero. */
static inline int32_t hk_interpolate(const uint32_t *table, uint32_t magnitude, uint32_t bits)
{
    const uint32_t entry = table[magnitude >> bits];
    const uint32_t fraction = magnitude & ((UINT32_C(1) << bits) - 1);
    return (int32_t)((entry >> 16) << bits) + (int16_t)fraction * (int16_t)entry;
}

/* Q3.12 to Q0.15. The index stays below 193 for any int16. */
static inline int32_t hk_sigmoid(const uint32_t *table, int32_t x)
{
    const int32_t scaled = 3 * x;
    const int32_t sign = scaled >> 31;
    const uint32_t magnitude = (uint32_t)((scaled ^ sign) - sign);
    return ((hk_interpolate(table, magnitude, 9) ^ sign) + (1 << 24) + (1 << 9)) >> 10;
}

/* int16 to Q0.15, where x * multiplier / 2^shift is the argument in units of 1/(3 * 2^12). */
static inline int32_t hk_tanh(const uint32_t *table, int32_t x, int32_t multiplier, int32_t shift)
{
    const int32_t scaled = (x * multiplier + (shift > 0 ? 1 << (shift - 1) : 0)) >> shift;
    const int32_t sign = scaled >> 31;
    const uint32_t full = (uint32_t)((scaled ^ sign) - sign);
    const uint32_t magnitude = full > 0xffff ? 0xffff : full; /* the last entry has no slope */
    return ((hk_interpolate(table, magnitude, 8) ^ sign) + (1 << 7)) >> 8;
}
