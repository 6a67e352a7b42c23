#include "hk_log2.h"

#include "hk_frontend_tables.h"

enum {
    FRACTION_BITS = 16,                              /* of the table, and of the mantissa that indexes it */
    STEP_BITS = FRACTION_BITS - HK_LOG2_TABLE_BITS,  /* mantissa bits between two entries of the table */
};

_Static_assert(STEP_BITS > 0 && STEP_BITS < 16, "an entry's difference times a step must fit 32 bits");

int32_t hk_log2_q8(uint64_t value)
{
    if (value == 0) {
        return 0;
    }
    /* The 32 bits from the leading one on, of words that shift by themselves: 32-bit cores do that faster. */
    const uint32_t high = (uint32_t)(value >> 32);
    const uint32_t low = (uint32_t)value;
    const int leading_zeros = __builtin_clz(high != 0 ? high : low);
    const uint32_t leading =
        high != 0 ? high << leading_zeros | low >> 1 >> (31 - leading_zeros) : low << leading_zeros;
    const int32_t whole = (high != 0 ? 63 : 31) - leading_zeros;
    const uint32_t mantissa = (leading >> (31 - FRACTION_BITS)) & 0xFFFFu; /* the 16 bits below the leading one */
    const uint32_t index = mantissa >> STEP_BITS;
    const uint32_t rest = mantissa & ((1u << STEP_BITS) - 1u);
    const uint32_t below = hk_log2_q16[index];
    const uint32_t fraction = below + (((hk_log2_q16[index + 1] - below) * rest) >> STEP_BITS);
    const uint32_t log2_q16 = ((uint32_t)whole << FRACTION_BITS) + fraction;
    return (int32_t)((log2_q16 + 128u) >> 8);
}
