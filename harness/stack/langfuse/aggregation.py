"""How the metrics API makes one number, or one histogram, of many."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from harness.stack.langfuse.pricing import COST_DECIMALS

Aggregation = Callable[[Sequence[float]], float | None]

HISTOGRAM = "histogram"


def _sum(values: Sequence[float]) -> float | None:
    if not values:
        return None
    if all(isinstance(value, int) for value in values):
        return sum(values)
    return round(math.fsum(values), COST_DECIMALS)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def quantile(values: Sequence[float], fraction: float) -> float | None:
    """
    Give the quantile by linear interpolation between order statistics; None of no values.

    The fraction f of n values lies at position f * (n - 1), counted from 0.
    """
    if not values:
        return None
    ordered = sorted(values)
    position = fraction * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _quantile(fraction: float) -> Aggregation:
    return lambda values: quantile(values, fraction)


AGGREGATIONS: Mapping[str, Aggregation] = {
    "sum": _sum,
    "avg": _mean,
    "count": len,
    "max": lambda values: max(values, default=None),
    "min": lambda values: min(values, default=None),
    "p50": _quantile(0.5),
    "p75": _quantile(0.75),
    "p90": _quantile(0.9),
    "p95": _quantile(0.95),
    "p99": _quantile(0.99),
}


def histogram(values: Sequence[float], bins: int) -> list[tuple[float, float, float]]:
    """
    Make at most ``bins`` bins (low, high, height), as ClickHouse's adaptive histogram does.

    Equal values are one point; while there are more points than bins, the nearest two become
    their weighted mean. Bins meet halfway between points, and each height is smoothed with its
    neighbours, 1 : 6 : 1, the outermost standing in for the neighbour it lacks.
    """
    points = sorted(Counter(values).items())
    while len(points) > bins:
        at = min(range(len(points) - 1), key=lambda i: points[i + 1][0] - points[i][0])
        (low, few), (high, many) = points[at : at + 2]
        weight = few + many
        points[at : at + 2] = [((low * few + high * many) / weight, weight)]
    if not points:
        return []
    middles = [(low + high) / 2 for (low, _), (high, _) in pairwise(points)]
    edges = [min(values), *middles, max(values)]
    weights = [points[0][1], *(weight for _, weight in points), points[-1][1]]
    return [
        (low, high, (weights[i] + 6 * weights[i + 1] + weights[i + 2]) / 8)
        for i, (low, high) in enumerate(pairwise(edges))
    ]
