"""Whether one group of devices triggers falsely more often than another: the exact test of two Poisson rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MOST = 1_000_000


@dataclass(frozen=True)
class Heard:
    """How many false triggers in how many hours of devices."""

    false: int
    hours: float

    def __str__(self) -> str:
        rate = f", {self.false / self.hours:.4f} an hour" if self.hours > 0 else ""
        return f"{self.false} false in {self.hours:,.1f} device-hours{rate}"


def p_value(new: Heard, reference: Heard) -> float:
    """Return how likely `new` has at least its count if both rates are equal; 1 where either has no hours.

    Given the sum of both counts, one of two equal Poisson rates has a binomial share of it (Przyborowski and Wilenski
    1940): exact for any counts, however few.
    """
    if new.hours <= 0 or reference.hours <= 0:
        return 1.0
    share = new.hours / (new.hours + reference.hours)
    return _binomial_tail(new.false, new.false + reference.false, share)


def least_to_halt(hours: float, reference: Heard, level: float) -> int | None:
    """Return from which count on, in so many hours, the rate is a rise at a level; None where none would be."""
    if hours <= 0 or reference.hours <= 0:
        return None
    low, high = 0, 1
    while p_value(Heard(high, hours), reference) >= level:
        low, high = high, 2 * high
        if high > _MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if p_value(Heard(middle, hours), reference) < level else (middle, high)
    return high


def _binomial_tail(least: int, n: int, share: float) -> float:
    """P(X >= least) for X binomial of n."""
    if least <= 0:
        return 1.0
    log_share, log_rest = math.log(share), math.log1p(-share)
    terms = (
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_share + (n - k) * log_rest
        for k in range(least, n + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))
