"""From logits to probabilities that mean what they say, and to the thresholds from which a clip counts as heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize

# each class counts as if it had this many clips: with a handful of positives an exact fit would be one of chance
_PRIOR_CLIPS = 2.0


def fit_logistic(logits: np.ndarray, is_positive: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Return slope and offset for which logistic(slope * logit + offset) are the likeliest probabilities (Platt).

    Targets are drawn in from 0 and 1 as Platt has it. The slope is kept between 0.1 and 3. (1, 0) where one class is
    missing.

    Args:
        logits: float[n].
        is_positive: bool[n].
        weights: how much each clip counts, float[n]; 1 where None.
    """
    positives, negatives = int(np.count_nonzero(is_positive)), int(np.count_nonzero(~is_positive))
    if positives == 0 or negatives == 0:
        return 1.0, 0.0
    high = (positives + _PRIOR_CLIPS / 2) / (positives + _PRIOR_CLIPS)
    low = _PRIOR_CLIPS / 2 / (negatives + _PRIOR_CLIPS)
    wanted = np.where(is_positive, high, low)
    counts = np.ones(len(logits)) if weights is None else weights

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * logits + parameters[1]
        value = float(np.sum(counts * (np.logaddexp(0.0, z) - wanted * z)))
        error = counts * (1 / (1 + np.exp(-np.clip(z, -60, 60))) - wanted)
        return value, np.array([float(np.sum(error * logits)), float(np.sum(error))])

    found = optimize.minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0.1, 3.0), (-8.0, 8.0)])
    return float(found.x[0]), float(found.x[1])


def expected_error(probabilities: np.ndarray, is_positive: np.ndarray, bins: int = 10) -> float:
    """Return how far probabilities are from the rates they promise: the mean distance over `bins` equal bins."""
    if not len(probabilities):
        return float("nan")
    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    distance = 0.0
    for index in range(bins):
        inside = bin_of == index
        if inside.any():
            distance += float(abs(probabilities[inside].mean() - is_positive[inside].mean()) * inside.sum())
    return distance / len(probabilities)


def threshold_that_keeps(scores: Sequence[float] | np.ndarray, share: float, margin: float = 1.0) -> float:
    """Return the score that `share` of `scores` reach, and no fewer, times `margin`; 0 without scores."""
    return margin * float(np.quantile(scores, 1 - share, method="lower")) if len(scores) else 0.0
