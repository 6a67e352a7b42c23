"""Logits become probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from edge.evaluation import calibration


def _logistic(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _fitted(logits: np.ndarray, is_positive: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    (slope,), offset = calibration.fit_logistic(logits[:, None], is_positive, weights)
    return float(slope), offset


def test_it_finds_the_slope_and_offset_by_which_truth_was_drawn() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4, 40_000)
    is_positive = rng.random(len(logits)) < _logistic(0.5 * logits - 1.5)
    slope, offset = _fitted(logits, is_positive)
    assert slope == pytest.approx(0.5, abs=0.02)
    assert offset == pytest.approx(-1.5, abs=0.06)
    before = calibration.expected_error(_logistic(logits), is_positive)
    after = calibration.expected_error(_logistic(slope * logits + offset), is_positive)
    assert after < 0.01 < before


def test_evidence_counts_for_what_it_says_and_noise_for_little() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (4000, 3))
    is_positive = rng.random(len(values)) < _logistic(values[:, 0] - 1.5 * values[:, 1])
    weights, offset = calibration.fit_logistic(values, is_positive, signs=(-1, 1))
    assert weights == pytest.approx([1.0, -1.5, 0.0], abs=0.15)
    assert offset == pytest.approx(0.0, abs=0.15)
    # four clips of each class: what three values say of them is mostly chance
    few = np.r_[np.flatnonzero(is_positive)[:4], np.flatnonzero(~is_positive)[:4]]
    weights, _ = calibration.fit_logistic(values[few], is_positive[few], signs=(-1, 1))
    assert np.abs(weights[1:]).max() < 0.5
    # what can only be chance is not believed
    weights, _ = calibration.fit_logistic(values, is_positive, signs=(1, 1))
    assert weights[1] == 0.0


def test_a_weight_counts_as_so_many_clips() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, 3000)
    is_positive = rng.random(len(logits)) < _logistic(logits)
    repeated = np.where(is_positive, 3, 1)
    weighted = _fitted(logits, is_positive, repeated.astype(float))
    plain = _fitted(np.repeat(logits, repeated), np.repeat(is_positive, repeated))
    assert weighted == pytest.approx(plain, abs=0.01)


def test_separable_clips_give_no_certainty() -> None:
    slope, offset = _fitted(np.array([-5.0, -4.0, 4.0, 5.0]), np.array([False, False, True, True]))
    assert 0.02 < 1 - float(_logistic(np.array(slope * 5 + offset))) < 0.4


def test_one_class_alone_changes_nothing() -> None:
    assert _fitted(np.array([1.0, 2.0]), np.array([True, True])) == (1.0, 0.0)


def test_a_threshold_keeps_its_share() -> None:
    scores = np.linspace(0, 1, 101)
    threshold = calibration.threshold_that_keeps(scores, 0.95)
    assert (scores >= threshold).sum() in (95, 96)
    assert calibration.threshold_that_keeps(scores, 0.95, margin=0.5) == pytest.approx(threshold / 2)
    assert calibration.threshold_that_keeps([], 0.95) == 0.0
