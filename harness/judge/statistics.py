"""How sure one can be of a share, from how many events: exact binomial statistics."""

from __future__ import annotations

import numpy as np
from scipy.special import bdtr, betaincinv

_MANY = 1_000_000


def share_at_least(good: int, events: int, confidence: float) -> float:
    """
    The share that the true one surely reaches: the one-sided lower Clopper-Pearson limit.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26 (1934).
    """
    if good == 0:
        return 0.0
    return float(betaincinv(good, events - good + 1, 1 - confidence))


def share_at_most(good: int, events: int, confidence: float) -> float:
    """The share that the true one surely does not exceed: the one-sided upper limit."""
    if good == events:
        return 1.0
    return float(betaincinv(good + 1, events - good, confidence))


def events_to_decide(share: float, target: float, confidence: float, after: int = 0) -> int | None:
    """
    How many events would decide it, if they went on coming at this share of good ones.

    Only numbers above `after` are considered: so many were not enough. None when
    a million would not do, because the share is too close to the target.
    """

    def decided(events: int) -> bool:
        good = round(share * events)
        return (
            share_at_least(good, events, confidence) >= target
            or share_at_most(good, events, confidence) < target
        )

    low, high = after, max(1, 2 * after)
    while not decided(high):
        low, high = high, 2 * high
        if high > _MANY:
            return None
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def quantile_ranks(q: float, events: int, confidence: float) -> tuple[int | None, int | None]:
    """
    Ranks of the order statistics between which the true quantile lies, two-sided, from 1.

    The number of events below the quantile is binomial, so the ranks are its
    quantiles. None for an end that this many events cannot give. Source:
    David and Nagaraja, Order Statistics (2003), section 7.1.
    """
    tail = (1 - confidence) / 2
    # The chance that at most r - 1 of the events are below the quantile, for r from 1.
    below = bdtr(np.arange(events), events, q)
    low = int(np.count_nonzero(below <= tail))
    high = int(np.count_nonzero(below < 1 - tail)) + 1
    return low or None, high if high <= events else None
