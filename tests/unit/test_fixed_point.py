"""The compiler's fixed-point arithmetic, against exact rational arithmetic and known values."""

import math
from fractions import Fraction
from itertools import pairwise

import pytest

from firmware_gen.compiler.fixed_point import (
    Scale,
    exp_on_negative,
    logistic_int8,
    multiply_high,
    quantize_multiplier,
    requantize,
    shift_right_round,
    sigmoid_lines,
    sigmoid_table,
    softmax_exponentials,
    tanh_int8,
)


@pytest.mark.parametrize("real", [1.0, 0.5, 0.3, 1e-6, 123.456, 2.0**-31, 2.0**29])
def test_a_quantised_scale_is_within_half_a_unit_of_31_bits(real: float) -> None:
    scale = quantize_multiplier(real)
    assert 2**30 <= scale.multiplier < 2**31
    value = Fraction(scale.multiplier) * Fraction(2) ** (scale.shift - 31)
    assert abs(value / Fraction(real) - 1) <= Fraction(1, 2**31)


def test_a_scale_too_small_for_any_int32_becomes_zero() -> None:
    assert quantize_multiplier(2.0**-40) == Scale(0, 0)


@pytest.mark.parametrize("real", [-1.0, float("nan"), float("inf"), 2.0**31])
def test_a_scale_that_is_no_scale_is_refused(real: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        quantize_multiplier(real)


def test_the_product_rounds_halves_up_and_the_shift_away_from_zero() -> None:
    assert multiply_high(1, 2**30) == 1
    assert multiply_high(-1, 2**30) == 0
    assert shift_right_round(3, 1) == 2
    assert shift_right_round(-3, 1) == -2
    assert shift_right_round(-5, 0) == -5
    # Both roundings in turn: 1.25 becomes 1.5, then 2.
    assert requantize(5, Scale(2**30, -1)) == 2


def test_logistic_is_monotonous_and_complementary() -> None:
    answers = [logistic_int8(value, 0, 0.05) for value in range(-128, 128)]
    assert answers == sorted(answers)
    assert answers[128] == 0  # one half
    assert all(abs(answers[128 + i] + answers[128 - i]) <= 1 for i in range(1, 128))


def test_the_sigmoid_table_rises_from_one_half_to_one() -> None:
    table = sigmoid_table()
    assert (len(table), table[0], table[-1]) == (256, 2**15, 2**16 - 1)
    assert list(table) == sorted(table)


def test_the_lines_between_the_tables_entries_meet() -> None:
    table, lines = sigmoid_table(), sigmoid_lines()
    values = [start + slope * (index << 9) for index, (start, slope) in enumerate(lines)]
    assert values == [(value - 2**15) << 9 for value in table]
    for index, (here, there) in enumerate(pairwise(lines)):
        end = (index + 1) << 9
        assert here[0] + here[1] * end == there[0] + there[1] * end
    assert all(start % 2 == 0 for start, _ in lines)


def test_tanh_is_odd_and_within_one_step_of_the_truth() -> None:
    answers = {value: tanh_int8(value, 0, 0.03) for value in range(-127, 128)}
    assert answers[0] == 0
    assert all(abs(answers[v] + answers[-v]) <= 1 for v in answers)
    assert all(abs(answer - 128 * math.tanh(0.03 * v)) <= 1.01 for v, answer in answers.items())


def test_tanh_saturates_beyond_its_range() -> None:
    assert [tanh_int8(value, -3, 7.0) for value in (-128, -6, -3, 0, 127)] == [-128, -128, 0, 127, 127]


@pytest.mark.parametrize("bits", [0, 4, 5])
def test_exponentials_are_right_to_seven_digits(bits: int) -> None:
    reach = 2**bits
    for value in (0.0, -0.01, -0.24, -0.25, -0.9, -3.3, -15.9, -20.0):
        if value > -reach:
            result = exp_on_negative(round(value * 2 ** (31 - bits)), bits) / 2**31
            assert result == pytest.approx(math.exp(value), abs=3e-7)


def test_softmax_counts_no_more_differences_than_its_range_holds() -> None:
    assert len(softmax_exponentials(0.0001, 1.0)) == 256
    coarse = softmax_exponentials(3.0, 1.0)
    assert len(coarse) == 31 // 4 + 1  # a scale of 3 is 4 at most in TFLM's rounding up to a power of two
    assert coarse[0] == 2**31 - 1
    assert list(coarse) == sorted(coarse, reverse=True)


@pytest.mark.parametrize(("scale", "beta"), [(0.1, 0.0), (0.1, -1.0), (1e-9, 1.0), (0.1, float("nan"))])
def test_a_softmax_without_a_usable_scale_is_refused(scale: float, beta: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        softmax_exponentials(scale, beta)
