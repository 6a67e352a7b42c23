"""The compiler's fixed-point arithmetic, against exact rational arithmetic and known values."""

from fractions import Fraction
from itertools import pairwise

import pytest

from firmware_gen.compiler.fixed_point import (
    Scale,
    logistic_int8,
    multiply_high,
    quantize_multiplier,
    requantize,
    shift_right_round,
    sigmoid_lines,
    sigmoid_table,
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
