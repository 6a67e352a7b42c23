"""Figures over scores: areas under the curve, rates with intervals, false triggers."""

from __future__ import annotations

import numpy as np
from scipy import stats

# at most one false trigger is counted in this time: a tracker's refractory time
FALSE_TRIGGER_SPACING_S = 5.0


def area_under_curve(scores: np.ndarray, is_positive: np.ndarray) -> float:
    """Return the area under the ROC curve of scores float[n] against bool[n]; NaN if one class is missing.

    It is the chance that a positive scores above a negative, ties counting half (Mann-Whitney).
    """
    positives = int(np.count_nonzero(is_positive))
    negatives = len(is_positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = stats.rankdata(scores)
    rank_sum = float(ranks[np.asarray(is_positive, bool)].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def rate_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a rate; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, successes, trials - successes + 1)) if successes > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high


def count_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a Poisson count; divide by the hours watched for a rate."""
    tail = (1 - confidence) / 2
    low = float(stats.chi2.ppf(tail, 2 * count) / 2) if count > 0 else 0.0
    return low, float(stats.chi2.ppf(1 - tail, 2 * count + 2) / 2)


def smoothed(scores: np.ndarray, steps: int = 5) -> np.ndarray:
    """Return the running mean of scores[steps, …] over the last `steps`, same shape."""
    total = np.cumsum(scores, axis=0, dtype=np.float64)
    out = total.copy()
    out[steps:] -= total[:-steps]
    counts = np.minimum(np.arange(1, len(scores) + 1), steps).reshape(-1, *[1] * (scores.ndim - 1))
    return (out / counts).astype(np.float32)


def triggers(scores: np.ndarray, threshold: float, step_s: float, is_counted: np.ndarray | None = None) -> int:
    """Count how often scores float[steps] reach `threshold`, at most once in `FALSE_TRIGGER_SPACING_S`.

    Args:
        scores: one event's, in order of time.
        threshold: reached when a score is equal or above.
        step_s: seconds from score to score.
        is_counted: bool[steps], where a trigger counts; everywhere if None.
    """
    above = scores >= threshold
    if is_counted is not None:
        above &= is_counted
    count, free_from = 0, 0
    spacing = round(FALSE_TRIGGER_SPACING_S / step_s)
    for step in np.flatnonzero(above):
        if step >= free_from:
            count += 1
            free_from = step + spacing
    return count
