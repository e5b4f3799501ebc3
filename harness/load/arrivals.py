"""When users come: schedules of intended starts that do not wait for the server."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _check(rate: float, duration: str, warmup: str) -> None:
    if not rate > 0:
        msg = f"rate={rate}: give more than 0 arrivals per second"
        raise ValueError(msg)
    seconds(duration)
    seconds(warmup)


def seconds(text: str) -> float:
    """Read a duration such as 30s or 2m; raises ValueError when it is not one."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh])", text)
    if match is None:
        msg = f"{text!r} is not a duration; write it like 30s, 2m or 1h"
        raise ValueError(msg)
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Constant:
    """Arrivals at even distances: `rate` per second for `duration`, after a `warmup`."""

    rate: float
    duration: str
    warmup: str = "0s"

    def __post_init__(self) -> None:
        """Refuse a rate that is none and durations that are not, with ValueError."""
        _check(self.rate, self.duration, self.warmup)

    def instants(self, length: float, seed: int) -> Iterator[float]:
        """Offsets from the beginning, in seconds, below `length`; the seed plays no part."""
        del seed
        number = 0
        while (offset := number / self.rate) < length:
            yield offset
            number += 1

    def __str__(self) -> str:
        """Say it in words."""
        return f"constant, {self.rate:g} per second for {self.duration}"


@dataclass(frozen=True, slots=True)
class Poisson:
    """Arrivals independent of each other: `rate` per second on average, after a `warmup`."""

    rate: float
    duration: str
    warmup: str = "0s"

    def __post_init__(self) -> None:
        """Refuse a rate that is none and durations that are not, with ValueError."""
        _check(self.rate, self.duration, self.warmup)

    def instants(self, length: float, seed: int) -> Iterator[float]:
        """Offsets from the beginning, in seconds, below `length`; one seed, one schedule."""
        draw = random.Random(seed)  # noqa: S311 - a schedule, not a secret
        offset = draw.expovariate(self.rate)
        while offset < length:
            yield offset
            offset += draw.expovariate(self.rate)

    def __str__(self) -> str:
        """Say it in words."""
        return f"Poisson, {self.rate:g} per second for {self.duration}"


Arrivals = Constant | Poisson
