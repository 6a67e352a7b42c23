"""Figures over scores and counts: areas under the curve, and rates with their intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats


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


def mean_area_of(areas: Mapping[str, float]) -> float:
    """Return the mean of the areas that are numbers; 0 if none is."""
    numbers = [area for area in areas.values() if not np.isnan(area)]
    return float(np.mean(numbers)) if numbers else 0.0


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
