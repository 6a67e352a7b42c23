/* Sums of int8 weights times int8 values, two rows of weights at once.
 *
 * An int16 of the weights holds those of two rows, 256 * second + first. Multiplied as it lies it adds up
 * 256 * second * x + first * x; its low byte, multiplied again, adds up first * x. So a core that multiplies pairs of
 * int16 needs one instruction to prepare two of them, where rows of bytes need two. Vectors of values are int16. Rows are
 * whole blocks of columns: beyond the last one weights are zero, and values whatever they are.
 * For vectors (MVE), for the DSP extension, and in plain C, chosen by the compiler's macros. */
#ifndef HK_ROW_PAIRS_H
#define HK_ROW_PAIRS_H

#include <stdbool.h>
#include <stdint.h>

#include "hk_fixed_point.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are read in place");

#define HK_ROW_PAIRS_BLOCK 16u
#define HK_ROW_PAIRS_COLUMNS(count) (((count) + HK_ROW_PAIRS_BLOCK - 1u) / HK_ROW_PAIRS_BLOCK * HK_ROW_PAIRS_BLOCK)

/* Gives the sums of `rows` rows, and of an odd last one's partner of zeros: sums[rows rounded up to 2]. `columns` are
 * whole blocks; weights and values are aligned to 4. */
#if HK_HAS_MVE

/* Two pairs of rows at once, so that a load of the values serves four rows; a last pair without another is its own. */
static inline void hk_row_pairs_add(const int16_t *weights, const int16_t *in, uint32_t columns, int32_t *sums,
                                    uint32_t rows)
{
    for (const int32_t *const last = sums + rows; sums < last; sums += 4) {
        const bool is_last = sums + 2 >= last;
        const int16_t *other = is_last ? weights : weights + columns;
        int32_t both[2] = {0, 0};
        int32_t first[2] = {0, 0};
        for (uint32_t column = 0; column < columns; column += 8) {
            const int16x8_t x = vldrhq_s16(in + column);
            const int16x8_t v = vldrhq_s16(weights + column);
            const int16x8_t w = vldrhq_s16(other + column);
            both[0] = vmladavaq_s16(both[0], v, x);
            both[1] = vmladavaq_s16(both[1], w, x);
            first[0] = vmladavaq_s16(first[0], vmovlbq_s8(vreinterpretq_s8_s16(v)), x);
            first[1] = vmladavaq_s16(first[1], vmovlbq_s8(vreinterpretq_s8_s16(w)), x);
        }
        sums[0] = first[0];
        sums[1] = (both[0] - first[0]) >> 8;
        if (!is_last) {
            sums[2] = first[1];
            sums[3] = (both[1] - first[1]) >> 8;
        }
        weights += 2 * columns;
    }
}

#elif HK_HAS_DSP

/* Four products: r4 to r7 hold the values of eight columns, r8 to r11 their weights, r12 and lr the sums. */
#define HK_ADD_FOUR(w, x)                                                                                              \
    "smlad lr, " w ", " x ", lr\n\t"                                                                                   \
    "sxtb16 " w ", " w "\n\t"                                                                                          \
    "smlad r12, " w ", " x ", r12\n\t"
#define HK_ADD_EIGHT_COLUMNS                                                                                           \
    "ldmia r1!, {r4-r7}\n\t"                                                                                           \
    "ldmia r0!, {r8-r11}\n\t" HK_ADD_FOUR("r8", "r4") HK_ADD_FOUR("r9", "r5") HK_ADD_FOUR("r10", "r6") HK_ADD_FOUR("r11", "r7")

/* In assembly from end to end, as it needs every register that there is: no other order of these loads and sums takes
 * fewer. `end` is that of the values, `last` that of the sums. */
static __attribute__((naked, noinline, unused)) void hk_row_pairs_add_blocks(
    __attribute__((unused)) const int16_t *weights, __attribute__((unused)) const int16_t *in,
    __attribute__((unused)) const int16_t *end, __attribute__((unused)) int32_t *sums,
    __attribute__((unused)) const int32_t *last)
{
    __asm__("push {r1, r4-r11, lr}\n\t"
            "1: ldr r1, [sp]\n\t"
            "mov r12, #0\n\t"
            "mov lr, #0\n\t"
            "2:\n\t" HK_ADD_EIGHT_COLUMNS HK_ADD_EIGHT_COLUMNS "cmp r1, r2\n\t"
            "bne 2b\n\t"
            "sub lr, lr, r12\n\t"
            "asr lr, lr, #8\n\t"
            "stmia r3!, {r12, lr}\n\t"
            "ldr r4, [sp, #40]\n\t"
            "cmp r3, r4\n\t"
            "blo 1b\n\t"
            "pop {r1, r4-r11, pc}");
}

static inline void hk_row_pairs_add(const int16_t *weights, const int16_t *in, uint32_t columns, int32_t *sums,
                                    uint32_t rows)
{
    hk_row_pairs_add_blocks(weights, in, in + columns, sums, sums + rows);
}

#else

/* One column of two pairs of rows. The low byte is read as such: one instruction on any core. */
#define HK_ADD_COLUMN(k)                                                                                               \
    do {                                                                                                               \
        const int32_t value = x[k];                                                                                    \
        both_v += v[k] * value;                                                                                        \
        first_v += ((const int8_t *)v)[2 * (k)] * value;                                                               \
        both_w += w[k] * value;                                                                                        \
        first_w += ((const int8_t *)w)[2 * (k)] * value;                                                               \
    } while (0)

/* Two pairs of rows at once, so that a load of a value serves four rows; a last pair without another is its own. */
static inline void hk_row_pairs_add(const int16_t *weights, const int16_t *in, uint32_t columns, int32_t *sums,
                                    uint32_t rows)
{
    for (const int32_t *const last = sums + rows; sums < last; sums += 4) {
        const bool is_last = sums + 2 >= last;
        const int16_t *v = weights;
        const int16_t *w = is_last ? weights : weights + columns;
        int32_t both_v = 0;
        int32_t both_w = 0;
        int32_t first_v = 0;
        int32_t first_w = 0;
        for (const int16_t *x = in; x != in + columns; x += 4, v += 4, w += 4) {
            HK_ADD_COLUMN(0);
            HK_ADD_COLUMN(1);
            HK_ADD_COLUMN(2);
            HK_ADD_COLUMN(3);
        }
        sums[0] = first_v;
        sums[1] = (both_v - first_v) >> 8;
        if (!is_last) {
            sums[2] = first_w;
            sums[3] = (both_w - first_w) >> 8;
        }
        weights += 2 * columns;
    }
}

#endif

#endif
