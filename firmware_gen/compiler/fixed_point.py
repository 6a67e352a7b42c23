"""TensorFlow Lite Micro's fixed-point arithmetic in exact Python integers, for what is computed when compiling.

Sources of the arithmetic: the public reference kernels of tensorflow/tflite-micro and the fixed-point functions of
google/gemmlowp. `edge/core/include/hk_fixed_point.h` is the same in C.
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


@dataclass(frozen=True)
class Scale:
    """A positive real number as `multiplier * 2**(shift - 31)`; multiplier is 0 or in [2**30, 2**31)."""

    multiplier: int
    shift: int

    @property
    def left_shift(self) -> int:
        """Bits by which a value is shifted left before it is multiplied."""
        return max(self.shift, 0)


def quantize_multiplier(real: float) -> Scale:
    """Return the scale next to `real`, a finite number that is not negative. Raises ValueError for any other."""
    if not math.isfinite(real) or real < 0:
        raise ValueError(f"a scale of {real} cannot be quantised")
    if real == 0.0:
        return Scale(0, 0)
    scale = _nearest(real)
    if scale.shift < -31:
        return Scale(0, 0)
    if scale.shift > 30:
        raise ValueError(f"a scale of {real} is beyond 2^30")
    return scale


def _nearest(real: float) -> Scale:
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    return Scale(multiplier // 2, shift + 1) if multiplier == 2**31 else Scale(multiplier, shift)


def multiply_high(a: int, b: int) -> int:
    """Return a*b/2**31 rounded to the nearest, halves up, saturated: gemmlowp's saturating doubling high product."""
    return min((a * b + 2**30) >> 31, INT32_MAX)


def shift_right_round(value: int, bits: int) -> int:
    """Return value/2**bits rounded to the nearest, halves away from zero."""
    if bits == 0:
        return value
    return (value + (1 << (bits - 1)) - (value < 0)) >> bits


def requantize(value: int, scale: Scale) -> int:
    """Return value*scale in TFLM's two roundings."""
    return shift_right_round(multiply_high(value << scale.left_shift, scale.multiplier), max(-scale.shift, 0))


def _saturate(value: int) -> int:
    return max(INT32_MIN, min(INT32_MAX, value))


def _wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def _saturating_shift_left(value: int, bits: int) -> int:
    return _saturate(value << bits)


# e^-(2^k) for k = -2 .. 4 in Q0.31: the steps by which gemmlowp composes an exponential of up to 32.
_EXP_STEPS = tuple((k, math.floor(math.exp(-(2.0**k)) * 2**31 + 0.5)) for k in range(-2, 5))
_EXP_MINUS_EIGHTH = math.floor(math.exp(-1 / 8) * 2**31 + 0.5)
_THIRD = math.floor(2**31 / 3 + 0.5)
_Q2_48_OVER_17 = math.floor(48 / 17 * 2**29 + 0.5)
_Q2_MINUS_32_OVER_17 = -math.floor(32 / 17 * 2**29 + 0.5)


def _exp_on_minus_quarter_to_zero(a: int) -> int:
    """Return e^a for a in [-1/4, 0), both Q0.31: a Taylor series of four terms around -1/8."""
    x = a + (1 << 28)
    x2 = multiply_high(x, x)
    x3 = multiply_high(x2, x)
    x4 = multiply_high(x2, x2)
    tail = shift_right_round(multiply_high(shift_right_round(x4, 2) + x3, _THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + multiply_high(_EXP_MINUS_EIGHTH, x + tail)


def exp_on_negative(a: int, integer_bits: int) -> int:
    """Return e^a in Q0.31 for a <= 0 with `integer_bits` (at most 5) before the point of its 31."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    within = (a & (quarter - 1)) - quarter
    result = _exp_on_minus_quarter_to_zero(_saturating_shift_left(within, integer_bits))
    remainder = within - a
    for exponent, factor in _EXP_STEPS:
        if exponent < integer_bits and remainder & (1 << (fraction_bits + exponent)):
            result = multiply_high(result, factor)
    return INT32_MAX if a == 0 else result


def _newton_reciprocal(a: int) -> int:
    """Return 2/(1+a) in Q2.29 for a in [0, 1] in Q0.31, by three Newton-Raphson steps."""
    total = a + INT32_MAX
    half_denominator = (total + 1) // 2
    x = _wrap(_Q2_48_OVER_17 + multiply_high(half_denominator, _Q2_MINUS_32_OVER_17))
    for _ in range(3):
        error = (1 << 29) - multiply_high(half_denominator, x)
        x = _wrap(x + _saturating_shift_left(multiply_high(x, error), 2))
    return x


def logistic_q4(a: int) -> int:
    """Return 1/(1+e^-a) in Q0.31 for a in Q4.27."""
    if a == 0:
        return 1 << 30
    # Q2.29 holds 2/(1+e); half of it in Q1.30 is the same bits, and Q0.31 is one bit further left.
    positive = _saturating_shift_left(_newton_reciprocal(exp_on_negative(-abs(a), 4)), 1)
    return positive if a > 0 else INT32_MAX - positive


def tanh_q4(a: int) -> int:
    """Return tanh(a) in Q0.31 for a in Q4.27: (1 - e^-2|a|) / (1 + e^-2|a|) with the sign of a."""
    if a == 0:
        return 0
    # Twice a in Q5.26 is the same bits.
    positive = _saturating_shift_left(_newton_reciprocal(exp_on_negative(-abs(a), 5)) - (1 << 29), 2)
    return positive if a > 0 else -positive


def _int8_in_q4(centred: int, scale: float) -> int | None:
    """Return centred * scale in Q4.27; None where TFLM takes it for infinite because it is beyond +-15."""
    fraction, shift = math.frexp(float(np.float32(scale)) * 2**27)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    radius = math.floor(15 * 2**27 / 2**shift) if shift >= 0 else 2**31
    return requantize(centred, Scale(multiplier, shift)) if abs(centred) < radius else None


def logistic_int8(value: int, zero_point: int, scale: float) -> int:
    """Return TFLM's int8 LOGISTIC of one int8 value whose tensor has this zero point and float32 scale."""
    in_q4 = _int8_in_q4(value - zero_point, scale)
    if in_q4 is None:
        return 127 if value > zero_point else -128
    return max(-128, min(127, shift_right_round(logistic_q4(in_q4), 23) - 128))


def tanh_int8(value: int, zero_point: int, scale: float) -> int:
    """Return TFLM's int8 TANH of one int8 value whose tensor has this zero point and float32 scale."""
    in_q4 = _int8_in_q4(value - zero_point, scale)
    if in_q4 is None:
        return 127 if value > zero_point else -128
    return max(-128, min(127, shift_right_round(tanh_q4(in_q4), 24)))


def softmax_exponentials(scale: float, beta: float) -> tuple[int, ...]:
    """Return e^(-d * scale * beta) in Q0.31 for d = 0, 1 and so on, up to the last that TFLM's int8 SOFTMAX counts.

    d is how far a value lies under the greatest of its row. Raises ValueError where TFLM takes no such scale.
    """
    integer_bits = 5
    real = min(beta * float(np.float32(scale)) * 2 ** (31 - integer_bits), 2.0**31 - 1)
    if not real > 1:
        raise ValueError(f"a scale of {scale} times beta {beta} is out of range")
    factor = _nearest(real)
    reach = math.floor(31 * 2 ** (31 - integer_bits) / 2**factor.shift)
    return tuple(
        exp_on_negative(multiply_high(-(d << factor.shift), factor.multiplier), integer_bits)
        for d in range(min(reach, 255) + 1)
    )


# Entries of TFLM's sigmoid table that lie one above 65536/(1+e^-(i/24)) rounded to the nearest, compared one by one.
_SIGMOID_ROUNDED_UP = frozenset(
    {
        *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30),
        *(31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46, 49, 50, 54, 62),
        *(63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
    }
)


@cache
def sigmoid_table() -> tuple[int, ...]:
    """Return the 256 values in Q0.16 of sigmoid(i/24) between which TFLM's int16 LOGISTIC and TANH interpolate."""
    return tuple(math.floor(65536 / (1 + math.exp(-i / 24)) + 0.5) + (i in _SIGMOID_ROUNDED_UP) for i in range(256))


def sigmoid_lines() -> list[tuple[int, int]]:
    """Return (start, slope) of each of the 256 stretches: `kernels/activation.h` says what they mean."""
    table = sigmoid_table()
    slopes = [after - before for before, after in pairwise(table)] + [0]
    return [
        (((value - 2**15) << 9) - slope * (index << 9), slope)
        for index, (value, slope) in enumerate(zip(table, slopes, strict=True))
    ]
