#include "hk_dense.h"

#include <stdbool.h>

#include "hk_row_pairs.h"

void hk_dense_load(const int8_t *in, uint32_t count, int16_t *values)
{
    for (uint32_t i = 0; i < count; i++) {
        values[i] = in[i];
    }
}

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
    hk_row_pairs_add(layer->weights, in, HK_ROW_PAIRS_COLUMNS(layer->inputs), sums, layer->outputs);
    finish_rows(layer, sums, out);
}
