/* The fixed-point arithmetic of quantised networks, rounding as TensorFlow Lite Micro's reference kernels round.
 *
 * A scale is multiplier * 2^(shift - 31) with multiplier 0 or in [2^30, 2^31). Two roundings follow one another: the
 * product's high half rounds halves up, the right shift rounds halves away from zero. Both must be kept apart for
 * results to agree to the last bit. */
#ifndef HK_FIXED_POINT_H
#define HK_FIXED_POINT_H

#include <stdint.h>

_Static_assert(-3 >> 1 == -2, "right shifts of negative numbers must be arithmetic");

#if defined(__ARM_FEATURE_DSP) && (__ARM_FEATURE_DSP == 1) && defined(__GNUC__)
#define HK_HAS_DSP 1
#else
#define HK_HAS_DSP 0
#endif

#if defined(__ARM_FEATURE_SAT) && (__ARM_FEATURE_SAT == 1) && defined(__GNUC__)
#define HK_HAS_SATURATION 1 /* SSAT, on cores without the DSP instructions too */
#else
#define HK_HAS_SATURATION 0
#endif

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1) && defined(__GNUC__)
#define HK_HAS_MVE 1
#include <arm_mve.h>
#else
#define HK_HAS_MVE 0
#endif

typedef struct {
    int32_t multiplier;
    int32_t shift; /* -31 .. 30: left when positive */
} hk_scale_t;

static inline int32_t hk_clamp(int32_t value, int32_t least, int32_t greatest)
{
    return value < least ? least : value > greatest ? greatest : value;
}

static inline int32_t hk_saturate_16(int32_t value)
{
#if HK_HAS_SATURATION
    __asm__("ssat %0, #16, %0" : "+r"(value));
    return value;
#else
    return hk_clamp(value, -32768, 32767);
#endif
}

/* To 0 .. 65535. */
static inline int32_t hk_saturate_u16(int32_t value)
{
#if HK_HAS_SATURATION
    __asm__("usat %0, #16, %0" : "+r"(value));
    return value;
#else
    return hk_clamp(value, 0, 65535);
#endif
}

static inline int32_t hk_saturate_8(int32_t value)
{
#if HK_HAS_SATURATION
    __asm__("ssat %0, #8, %0" : "+r"(value));
    return value;
#else
    return hk_clamp(value, -128, 127);
#endif
}

/* a * b / 2^31 to the nearest, halves up. `b` must not be negative. */
static inline int32_t hk_multiply_high_round(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* value / 2^bits to the nearest, halves away from zero; bits 0 .. 31. The sum stays in 32 bits for any int32 value
 * that hk_multiply_high_round() returns when bits < 31, and is taken in 64 bits for the rest. */
static inline int32_t hk_shift_right_round(int32_t value, int32_t bits)
{
    if (bits == 0) {
        return value;
    }
    return (int32_t)(((int64_t)value + (INT64_C(1) << (bits - 1)) - (value < 0 ? 1 : 0)) >> bits);
}

/* value * scale. value * 2^shift must fit 32 bits where the shift is positive. */
static inline int32_t hk_requantize(int32_t value, hk_scale_t scale)
{
    const int32_t left = scale.shift > 0 ? scale.shift : 0;
    const int32_t right = scale.shift > 0 ? 0 : -scale.shift;
    return hk_shift_right_round(hk_multiply_high_round(value * (INT32_C(1) << left), scale.multiplier), right);
}

/* The same where the caller knows that value * 2^(shift + 1) fits 32 bits (2 * value where the shift is negative) and
 * that the result before the right shift stays under 2^30: one SMMULR and 32-bit sums on cores that have it. */
static inline int32_t hk_requantize_bounded(int32_t value, hk_scale_t scale)
{
    const int32_t left = (scale.shift > 0 ? scale.shift : 0) + 1;
    const int32_t right = scale.shift > 0 ? 0 : -scale.shift;
    const int32_t shifted = value * (INT32_C(1) << left);
    int32_t high;
#if HK_HAS_DSP
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(shifted), "r"(scale.multiplier));
#else
    const int64_t product = (int64_t)shifted * scale.multiplier;
    high = (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31); /* halves up */
#endif
    return right == 0 ? high : (high + (INT32_C(1) << (right - 1)) + (high >> 31)) >> right;
}

#endif
