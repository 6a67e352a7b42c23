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
    const int leading_zeros = __builtin_clzll(value);
    /* The leading one goes to bit 63; the 16 bits below it are the mantissa. */
    const uint32_t mantissa = (uint32_t)((value << leading_zeros) >> (63 - FRACTION_BITS)) & 0xFFFFu;
    const uint32_t index = mantissa >> STEP_BITS;
    const uint32_t rest = mantissa & ((1u << STEP_BITS) - 1u);
    const uint32_t low = hk_log2_q16[index];
    const uint32_t fraction = low + (((hk_log2_q16[index + 1] - low) * rest) >> STEP_BITS);
    const uint32_t log2_q16 = ((uint32_t)(63 - leading_zeros) << FRACTION_BITS) + fraction;
    return (int32_t)((log2_q16 + 128u) >> 8);
}
