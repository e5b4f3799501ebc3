"""What a client should have measured, and by how much it was wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Error:
    """How far a measured value is from the true one; positive when it is too large."""

    seconds: float
    relative: float


def error(measured: float, true: float) -> Error:
    """Compare two durations; the true one is more than 0."""
    return Error(measured - true, measured / true - 1)


def even_schedule(first: float, rate: float, count: int) -> list[float]:
    """Give the intended starts of a load that asks at even distances."""
    return [first + number / rate for number in range(count)]


def true_response_times(
    intended: Sequence[float], freezes: Sequence[tuple[float, float]], usual: float
) -> list[float]:
    """
    Say how long each request takes, from its intended start to its answer.

    A request takes its usual time; the part of it that would end in a freeze, and all of one that
    comes in it, has to wait for its end. Only the server's log of its freezes is needed, so no
    lateness of a client can hide in it.
    """
    return [_answered(start, freezes, usual) - start for start in intended]


def _answered(start: float, freezes: Sequence[tuple[float, float]], usual: float) -> float:
    """
    Find the instant of the answer.

    Who comes in a freeze is read at its end, and takes the usual time from there; who was read
    before is answered as soon as it ends.
    """
    for begin, end in freezes:
        if begin <= start < end:
            return end + usual
        if begin <= start + usual < end:
            return end
    return start + usual


_OWN_HEAD = re.compile(r"^Type\s+Name\s+(?P<columns>50%.*)# reqs", re.MULTILINE)
_OWN_ROW = re.compile(r"^\s+Aggregated\s+(?P<values>\d+(?:\s+\d+)+)\s*$", re.MULTILINE)


def own_statistics(summary: str) -> dict[float, float]:
    """
    Read the quantiles, in seconds, from the table that Locust prints at the end.

    Raises ValueError when it has none.
    """
    head = _OWN_HEAD.search(summary)
    row = _OWN_ROW.search(summary, head.end()) if head else None
    if head is None or row is None:
        raise ValueError(f"Locust printed no percentiles:\n{summary[-2000:]}")
    shares = [float(column.rstrip("%")) / 100 for column in head["columns"].split()]
    milliseconds = [int(value) for value in row["values"].split()]
    return {
        round(share, 6): value / 1000
        for share, value in zip(shares, milliseconds[:-1], strict=True)
    }
