#include "hk_dense.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a layer's numbers are read in place");

void hk_dense_load(const int8_t *in, uint32_t count, int16_t *values)
{
    for (uint32_t i = 0; i < count; i++) {
        values[i] = in[i];
    }
}

/* --- Sums of all rows; an odd last one has a partner of zeros --- */

#if HK_HAS_MVE

/* Two pairs of rows at once, so that a load of the values serves four rows; a last pair without another is its own. */
static inline void add_pairs(const int16_t *weights, const int16_t *in, uint32_t columns, int32_t *sums, uint32_t rows)
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
#define ADD_FOUR(w, x)                                                                                                 \
    "smlad lr, " w ", " x ", lr\n\t"                                                                                   \
    "sxtb16 " w ", " w "\n\t"                                                                                          \
    "smlad r12, " w ", " x ", r12\n\t"
#define ADD_EIGHT_COLUMNS                                                                                              \
    "ldmia r1!, {r4-r7}\n\t"                                                                                           \
    "ldmia r0!, {r8-r11}\n\t" ADD_FOUR("r8", "r4") ADD_FOUR("r9", "r5") ADD_FOUR("r10", "r6") ADD_FOUR("r11", "r7")

/* In assembly from end to end, as it needs every register that there is: no other order of these loads and sums takes
 * fewer. `end` is that of the values, `last` that of the sums. */
static __attribute__((naked, noinline)) void add_blocks(__attribute__((unused)) const int16_t *weights,
                                                        __attribute__((unused)) const int16_t *in,
                                                        __attribute__((unused)) const int16_t *end,
                                                        __attribute__((unused)) int32_t *sums,
                                                        __attribute__((unused)) const int32_t *last)
{
    __asm__("push {r1, r4-r11, lr}\n\t"
            "1: ldr r1, [sp]\n\t"
            "mov r12, #0\n\t"
            "mov lr, #0\n\t"
            "2:\n\t" ADD_EIGHT_COLUMNS ADD_EIGHT_COLUMNS "cmp r1, r2\n\t"
            "bne 2b\n\t"
            "sub lr, lr, r12\n\t"
            "asr lr, lr, #8\n\t"
            "stmia r3!, {r12, lr}\n\t"
            "ldr r4, [sp, #40]\n\t"
            "cmp r3, r4\n\t"
            "blo 1b\n\t"
            "pop {r1, r4-r11, pc}");
}

static inline void add_pairs(const int16_t *weights, const int16_t *in, uint32_t columns, int32_t *sums, uint32_t rows)
{
    add_blocks(weights, in, in + columns, sums, sums + rows);
}

#else

/* One column of two pairs of rows. The low byte is read as such: one instruction on any core. */
#define ADD_COLUMN(k)                                                                                                  \
    do {                                                                                                               \
        const int32_t value = x[k];                                                                                    \
        both_v += v[k] * value;                                                                                        \
        first_v += ((const int8_t *)v)[2 * (k)] * value;                                                               \
        both_w += w[k] * value;                                                                                        \
        first_w += ((const int8_t *)w)[2 * (k)] * value;                                                               \
    } while (0)

/* Two pairs of rows at once, so that a load of a value serves four rows; a last pair without another is its own. */
static inline void add_pairs(const int16_t *weights, const int16_t *in, uint32_t columns, int32_t *sums, uint32_t rows)
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
            ADD_COLUMN(0);
            ADD_COLUMN(1);
            ADD_COLUMN(2);
            ADD_COLUMN(3);
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

/* --- From sums to outputs --- */

#if HK_HAS_MVE

static inline void finish_rows(const hk_dense_t *layer, const int32_t *sums, int16_t *out)
{
    const int32x4_t zero = vdupq_n_s32(0);
    const int32x4_t least = vdupq_n_s32(layer->least);
    const int32x4_t greatest = vdupq_n_s32(layer->greatest);
    const int32_t *bias = layer->bias;
    const int32_t *multiplier = layer->multiplier;
    const int8_t *shifts = layer->shift;
    for (int32_t left = (int32_t)layer->outputs; left > 0; left -= 4) {
        const mve_pred16_t which = vctp32q((uint32_t)left);
        const int32x4_t sum = vaddq_s32(vldrwq_s32(sums), vldrwq_z_s32(bias, which));
        const int32x4_t shift = vldrbq_s32(shifts); /* padded to a multiple of 4 */
        const int32x4_t right = vminq_s32(shift, zero);
        const int32x4_t high =
            vqrdmulhq_s32(vshlq_s32(sum, vmaxq_s32(shift, zero)), vldrwq_z_s32(multiplier, which));
        /* VRSHL rounds halves up; one less, negative values' halves go away from zero. */
        const int32x4_t below = vandq_s32(vshrq_n_s32(high, 31), vshrq_n_s32(right, 31));
        const int32x4_t scaled = vaddq_n_s32(vrshlq_s32(vaddq_s32(high, below), right), layer->zero_point);
        vstrhq_p_s32(out, vminq_s32(vmaxq_s32(scaled, least), greatest), which);
        sums += 4;
        bias += 4;
        multiplier += 4;
        shifts += 4;
        out += 4;
    }
}

#elif HK_HAS_DSP

static inline void finish_rows(const hk_dense_t *layer, const int32_t *sums, int16_t *out)
{
    const int32_t *bias = layer->bias;
    const int32_t *multipliers = layer->multiplier;
    const int8_t *shift = layer->shift;
    const int32_t zero_point = layer->zero_point;
    const int32_t least = layer->least;
    const int32_t greatest = layer->greatest;
    const bool is_narrow = least != -128 || greatest != 127;
    const int32_t halves = 2 * zero_point + 1; /* the zero point, and the half that rounds */
    for (const int16_t *const last = out + layer->outputs; out != last; out++) {
        const int32_t multiplier = *multipliers++;
        const int32_t doubled = 2 * (*sums++ + *bias++);
        const int32_t bits = -1 - *shift++; /* to the right, less one */
        int32_t value;
        if (__builtin_expect(bits >= 0, 1)) {
            __asm__("smmulr %0, %1, %2" : "=r"(value) : "r"(doubled), "r"(multiplier));
            value = ((value + (value >> 31)) >> bits) + halves;
            __asm__("ssat %0, #8, %0, asr #1" : "+r"(value));
        } else {
            __asm__("smmulr %0, %1, %2" : "=r"(value) : "r"(doubled * (INT32_C(1) << (-1 - bits))), "r"(multiplier));
            value = hk_saturate_8(value + zero_point);
        }
        *out = (int16_t)(__builtin_expect(is_narrow, 0) ? hk_clamp(value, least, greatest) : value);
    }
}

#else

static inline void finish_rows(const hk_dense_t *layer, const int32_t *sums, int16_t *out)
{
    for (uint32_t row = 0; row < layer->outputs; row++) {
        const hk_scale_t scale = {layer->multiplier[row], layer->shift[row]};
        const int32_t scaled = hk_requantize_bounded(sums[row] + layer->bias[row], scale);
        out[row] = (int16_t)hk_clamp(scaled + layer->zero_point, layer->least, layer->greatest);
    }
}

#endif

void hk_dense_run(const hk_dense_t *layer, const int16_t *in, int32_t *sums, int16_t *out)
{
    add_pairs(layer->weights, in, HK_DENSE_ROUND_UP(layer->inputs), sums, layer->outputs);
    finish_rows(layer, sums, out);
}
