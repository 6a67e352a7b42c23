/* Base-2 logarithm of a 64-bit energy, in fixed point. Pure function, safe in an interrupt. */
#ifndef HK_LOG2_H
#define HK_LOG2_H

#include <stdint.h>

/* log2(value) in Q8 (256 = one octave), 0 .. 16383; within 0.6 of the exact value. log2(0) counts as 0. */
int32_t hk_log2_q8(uint64_t value);

#endif
