"""From logits to probabilities that mean what they say, and to the thresholds from which a clip counts as heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import optimize

# each class counts as if it had this many clips: with a handful of positives an exact fit would be one of chance
_PRIOR_CLIPS = 2.0
# how many clips the belief that evidence beside the logit says nothing is worth
_RIDGE_CLIPS = 2.0


def fit_logistic(
    values: np.ndarray,
    is_positive: np.ndarray,
    weights: np.ndarray | None = None,
    signs: Sequence[int] = (),
) -> tuple[np.ndarray, float]:
    """Return weights float[k] and an offset for which logistic(values @ weights + offset) are the likeliest (Platt).

    Targets are drawn in from 0 and 1 as Platt has it. The first value is a clip's logit, whose weight is kept between
    0.1 and 3. What else there is, all of unit spread or so, is evidence beside it, whose weights are within 2 of 0, of
    the sign that they are told to have, and drawn to 0 (ridge): with few originals only what helps a lot may count, and
    only as it must be meant. Where one class is missing, the logit alone is returned as it is.

    Args:
        values: float[n, k].
        is_positive: bool[n].
        weights: how much each clip counts, float[n]; 1 where None.
        signs: +1 or -1 of each value but the first.
    """
    count = values.shape[1]
    positives, negatives = int(np.count_nonzero(is_positive)), int(np.count_nonzero(~is_positive))
    alone = np.concatenate([[1.0], np.zeros(count - 1)])
    if positives == 0 or negatives == 0:
        return alone, 0.0
    high = (positives + _PRIOR_CLIPS / 2) / (positives + _PRIOR_CLIPS)
    low = _PRIOR_CLIPS / 2 / (negatives + _PRIOR_CLIPS)
    wanted = np.where(is_positive, high, low)
    counts = np.ones(len(values)) if weights is None else weights
    ridge = _RIDGE_CLIPS * np.concatenate([[0.0], np.ones(count - 1)])

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        by = parameters[:-1]
        z = values @ by + parameters[-1]
        value = float(np.sum(counts * (np.logaddexp(0.0, z) - wanted * z)) + 0.5 * np.sum(ridge * by**2))
        error = counts * (1 / (1 + np.exp(-np.clip(z, -60, 60))) - wanted)
        return value, np.concatenate([error @ values + ridge * by, [np.sum(error)]])

    beside = [(0.0, 2.0) if sign > 0 else (-2.0, 0.0) for sign in signs]
    bounds = [(0.1, 3.0), *beside, (-12.0, 12.0)]
    found = optimize.minimize(loss, np.concatenate([alone, [0.0]]), jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[:-1], float(found.x[-1])


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
