"""
When users come: schedules of intended starts that do not wait for the server.

A schedule is a pure function of its length and a seed: every load process computes the same one
and sends its slot of it. Arrivals whose rate changes are those of a process of rate 1, moved to
where the integrated rate reaches them: inversion after Cinlar (Introduction to Stochastic
Processes, 1975, section 4.7), which is exact and draws once per arrival, where thinning (Lewis
and Shedler 1979) draws at the highest rate all the time.
"""

from __future__ import annotations

import math
import random
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count as numbers
from pathlib import Path
from typing import Protocol

from harness.load.recorded import recorded_instants

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Arrivals(Protocol):
    """
    A schedule of intended starts, as a scenario declares it.

    `duration` and `warmup` are texts such as 30s; `mean_rate` is in arrivals per second.
    `str()` says it in plain words.
    """

    @property
    def duration(self) -> str:
        """How long it sends."""
        ...

    @property
    def warmup(self) -> str:
        """How long it sends before that, unmeasured."""
        ...

    @property
    def mean_rate(self) -> float:
        """Arrivals per second, on average over the duration."""
        ...

    def instants(self, length: float, seed: int) -> Iterator[float]:
        """Offsets from the beginning, in seconds, ascending and below `length`."""
        ...


def seconds(text: str) -> float:
    """Read a duration such as 30s or 2m; raises ValueError when it is not one."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smh])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write it like 30s, 2m or 1h")
    return float(match[1]) * _UNITS[match[2]]


def warming(arrivals: Arrivals, seed: int) -> Iterator[float]:
    """
    Offsets of the warm-up of a schedule: as many as it has on average, without its shape.

    A spike is not to be spent before it is measured.
    """
    return Poisson(arrivals.mean_rate, arrivals.warmup).instants(seconds(arrivals.warmup), seed)


@dataclass(frozen=True, slots=True)
class Constant:
    """Arrivals at even distances: `rate` per second for `duration`, after a `warmup`."""

    rate: float
    duration: str
    warmup: str = "0s"

    def __post_init__(self) -> None:
        """Refuse a rate that is none and durations that are not, with ValueError."""
        _check_rate(self, "rate", self.rate)
        _check_durations(self, duration=self.duration, warmup=self.warmup)

    @property
    def mean_rate(self) -> float:
        """Arrivals per second."""
        return self.rate

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
        _check_rate(self, "rate", self.rate)
        _check_durations(self, duration=self.duration, warmup=self.warmup)

    @property
    def mean_rate(self) -> float:
        """Arrivals per second, on average."""
        return self.rate

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


@dataclass(frozen=True, slots=True)
class Ramp:
    """
    A rate that rises or falls in a straight line: from `start` to `end` per second in `duration`.

    Sent for longer or shorter than that, it goes from start to end all the same, at another
    pace. With `poisson=False` the arrivals are as even as the rate allows.
    """

    start: float
    end: float
    duration: str
    warmup: str = "0s"
    poisson: bool = True

    def __post_init__(self) -> None:
        """Refuse rates at which nobody comes and durations that are none, with ValueError."""
        _check_rate(self, "start", self.start, or_none=True)
        _check_rate(self, "end", self.end, or_none=True)
        if self.start == self.end == 0:
            raise ValueError("Ramp(start=0, end=0): give at least one rate above 0")
        _check_durations(self, warmup=self.warmup)
        _check_length(self, "duration", self.duration)

    @property
    def mean_rate(self) -> float:
        """Arrivals per second, on average."""
        return (self.start + self.end) / 2

    def instants(self, length: float, seed: int) -> Iterator[float]:
        """Offsets from the beginning, in seconds, below `length`; one seed, one schedule."""
        return _follow(self._stretches(), length, seed, poisson=self.poisson)

    def _stretches(self) -> tuple[_Stretch, ...]:
        return (_Stretch(seconds(self.duration), self.start, self.end),)

    def __str__(self) -> str:
        """Say it in words."""
        way = f"ramp from {self.start:g} to {self.end:g} per second in {self.duration}"
        return way + _kind(poisson=self.poisson)


@dataclass(frozen=True, slots=True)
class Steps:
    """
    One constant rate after another, each for the same time: `rates` per second, `each` long.

    Sent for longer or shorter than all of them take, each lasts its share of that. With
    `poisson=False` the arrivals are at even distances within a step.
    """

    rates: Sequence[float]
    each: str
    warmup: str = "0s"
    poisson: bool = True

    def __post_init__(self) -> None:
        """Refuse rates at which nobody comes and durations that are none, with ValueError."""
        # A list would make the declaration changeable, and unhashable.
        try:
            object.__setattr__(self, "rates", tuple(self.rates))
        except TypeError as error:
            raise ValueError(
                f"Steps(rates={self.rates!r}): give a list of rates, as in [1, 2, 4]"
            ) from error
        for number, rate in enumerate(self.rates):
            _check_rate(self, f"rates[{number}]", rate, or_none=True)
        if not any(self.rates):
            raise ValueError(f"Steps(rates={list(self.rates)}): give at least one rate above 0")
        _check_durations(self, warmup=self.warmup)
        _check_length(self, "each", self.each)

    @property
    def duration(self) -> str:
        """How long all steps take together."""
        return _text(len(self.rates) * seconds(self.each))

    @property
    def mean_rate(self) -> float:
        """Arrivals per second, on average."""
        return sum(self.rates) / len(self.rates)

    def instants(self, length: float, seed: int) -> Iterator[float]:
        """Offsets from the beginning, in seconds, below `length`; one seed, one schedule."""
        return _follow(self._stretches(), length, seed, poisson=self.poisson)

    def _stretches(self) -> tuple[_Stretch, ...]:
        return tuple(_Stretch(seconds(self.each), rate, rate) for rate in self.rates)

    def __str__(self) -> str:
        """Say it in words."""
        rates = ", ".join(f"{rate:g}" for rate in self.rates)
        return f"steps of {rates} per second, {self.each} each" + _kind(poisson=self.poisson)


@dataclass(frozen=True, slots=True)
class Spike:
    """
    A rate that leaps from `base` to `peak` per second and falls back.

    It is at the base for the time `before`, at the peak for `for_`, and at the base again for
    `after`. Sent for longer or shorter than these together, each lasts its share of that. With
    `poisson=False` the arrivals are as even as the rate allows.
    """

    base: float
    peak: float
    before: str
    for_: str
    after: str
    warmup: str = "0s"
    poisson: bool = True

    def __post_init__(self) -> None:
        """Refuse a peak that is none and durations that are not, with ValueError."""
        _check_rate(self, "base", self.base, or_none=True)
        _check_rate(self, "peak", self.peak)
        if self.peak <= self.base:
            raise ValueError(f"Spike(peak={self.peak}): give more than base={self.base}")
        _check_durations(self, before=self.before, after=self.after, warmup=self.warmup)
        _check_length(self, "for_", self.for_)

    @property
    def duration(self) -> str:
        """How long it takes altogether."""
        return _text(sum(stretch.seconds for stretch in self._stretches()))

    @property
    def mean_rate(self) -> float:
        """Arrivals per second, on average."""
        stretches = self._stretches()
        return sum(s.arrivals for s in stretches) / sum(s.seconds for s in stretches)

    def instants(self, length: float, seed: int) -> Iterator[float]:
        """Offsets from the beginning, in seconds, below `length`; one seed, one schedule."""
        return _follow(self._stretches(), length, seed, poisson=self.poisson)

    def _stretches(self) -> tuple[_Stretch, ...]:
        return (
            _Stretch(seconds(self.before), self.base, self.base),
            _Stretch(seconds(self.for_), self.peak, self.peak),
            _Stretch(seconds(self.after), self.base, self.base),
        )

    def __str__(self) -> str:
        """Say it in words."""
        leap = f"spike from {self.base:g} to {self.peak:g} per second for {self.for_}"
        return f"{leap}, {self.before} before and {self.after} after" + _kind(poisson=self.poisson)


@dataclass(frozen=True, slots=True)
class Trace:
    """
    Recorded arrivals, played again at the same distances; `scale=2` plays them twice as fast.

    Twice as fast is half of the time and twice the rate. Sent for shorter than it lasts, only its
    beginning is played; for longer, it begins again. It lasts one mean distance longer than up to
    its last arrival, so that its rate is the same however often it is played.

    The file holds instants in any order: seconds, from whatever beginning, or ISO 8601 (UTC
    where no time zone is given). A .csv file has them in the `column` of that name, a .jsonl file
    in the field of that name, and any other one on each line. So rows that this harness wrote can
    be played again: `Trace(run / "windows/soak/samples.jsonl", column="intended_start")`.
    """

    path: str | Path
    scale: float = 1.0
    warmup: str = "0s"
    column: str = "time"
    _offsets: array[float] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read the file; raises ValueError that names file and line, or the field at fault."""
        if not isinstance(self.path, str | Path):
            raise ValueError(  # noqa: TRY004 - as all that is wrong in a scenario
                f"Trace(path={self.path!r}): give the path of a file"
            )
        if not isinstance(self.column, str):
            raise ValueError(  # noqa: TRY004
                f"Trace(column={self.column!r}): give the name of a column or field"
            )
        object.__setattr__(self, "path", Path(self.path))
        _check_rate(self, "scale", self.scale)
        _check_durations(self, warmup=self.warmup)
        try:
            recorded = sorted(recorded_instants(Path(self.path), self.column))
        except ValueError as error:
            raise ValueError(f"Trace: {error}") from error
        if not recorded:
            raise ValueError(f"Trace: {self.path}: no arrivals in it; give at least one instant")
        offsets = array("d", ((at - recorded[0]) / self.scale for at in recorded))
        object.__setattr__(self, "_offsets", offsets)

    @property
    def duration(self) -> str:
        """How long it takes to play it once."""
        return _text(self._period)

    @property
    def _period(self) -> float:
        """One mean distance longer than up to the last arrival, in whole microseconds."""
        last, distances = self._offsets[-1], len(self._offsets) - 1
        mean = last / distances if last else 1.0
        return round(last + max(mean, 0.001), 6)

    @property
    def mean_rate(self) -> float:
        """Arrivals per second, on average."""
        return len(self._offsets) / self._period

    def instants(self, length: float, seed: int) -> Iterator[float]:
        """Offsets from the beginning, in seconds, below `length`; the seed plays no part."""
        del seed
        for played in numbers():
            for recorded in self._offsets:
                offset = played * self._period + recorded
                if offset >= length:
                    return
                yield offset

    def __str__(self) -> str:
        """Say it in words."""
        pace = "" if self.scale == 1 else f", {self.scale:g} times as fast as recorded"
        played = f"{len(self._offsets)} arrivals in {self._period:g}s"
        return f"trace {Path(self.path).name}, {played}{pace}"


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A time in which the rate goes in a straight line from one value to another."""

    seconds: float
    start: float
    end: float

    @property
    def arrivals(self) -> float:
        """How many are expected in it: the integral of its rate."""
        return self.seconds * (self.start + self.end) / 2

    def when(self, arrivals: float) -> float:
        """Tell after how many seconds that many are expected."""
        if not arrivals:
            return 0.0
        slope = (self.end - self.start) / self.seconds
        # The root of start*t + slope*t*t/2 = arrivals, in the form that cancels nothing.
        root = math.sqrt(max(0.0, self.start**2 + 2 * slope * arrivals))
        return 2 * arrivals / (self.start + root)


def _follow(
    declared: Sequence[_Stretch], length: float, seed: int, *, poisson: bool
) -> Iterator[float]:
    """Move the arrivals of a process of rate 1 to where the integrated rate reaches them."""
    if length <= 0:
        return
    pace = length / sum(stretch.seconds for stretch in declared)
    unit = _poisson_unit(seed) if poisson else map(float, numbers())
    due = next(unit)
    begin = expected = offset = 0.0
    below = math.nextafter(length, 0.0)
    for stretch in (_Stretch(pace * s.seconds, s.start, s.end) for s in declared):
        up_to = expected + stretch.arrivals
        while due < up_to:
            # Rounding may move no arrival before an earlier one, or out of the schedule.
            offset = max(offset, min(begin + stretch.when(due - expected), below))
            yield offset
            due = next(unit)
        begin, expected = begin + stretch.seconds, up_to


def _poisson_unit(seed: int) -> Iterator[float]:
    draw = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    at = 0.0
    while True:
        at += draw.expovariate(1.0)
        yield at


def _check_rate(of: object, name: str, rate: object, *, or_none: bool = False) -> None:
    known = isinstance(rate, int | float) and not isinstance(rate, bool) and math.isfinite(rate)
    if not known or rate < 0 or (rate == 0 and not or_none):  # type: ignore[operator]
        least = "0 or more" if or_none else "a number above 0"
        of_what = "how many times as fast" if name == "scale" else "arrivals per second"
        raise ValueError(f"{_called(of)}({name}={rate!r}): give {least} ({of_what})")


def _check_durations(of: object, **durations: str) -> None:
    for name, text in durations.items():
        try:
            seconds(text)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{_called(of)}({name}={text!r}): not a duration; write it like 30s, 2m or 1h"
            ) from error


def _check_length(of: object, name: str, text: str) -> None:
    _check_durations(of, **{name: text})
    if not seconds(text):
        raise ValueError(f"{_called(of)}({name}={text!r}): give more than 0 seconds")


def _called(of: object) -> str:
    return type(of).__name__


def _text(length: float) -> str:
    """Write seconds as a duration that `seconds` reads."""
    return f"{length:.6f}".rstrip("0").rstrip(".") + "s"


def _kind(*, poisson: bool) -> str:
    return ", Poisson" if poisson else ", evenly spaced"
