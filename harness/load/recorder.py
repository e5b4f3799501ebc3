"""Every request of a process, kept twice: a row, and values in HDR histograms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from harness.distribution import Distribution
from harness.load import clock
from harness.model import Outcome, Sample
from harness.runs import HistogramKey

_Histograms = dict[HistogramKey, Distribution]

# After this many seconds, what a load process has to tell of a second has arrived.
_SETTLED_SECONDS = 5.0
_TIMES = ("response_time", "service_time", "ttft", "tpot", "inter_token")
_FIELDS = tuple(field.name for field in fields(Sample))
_row = attrgetter(*_FIELDS)
_OUTCOME = _FIELDS.index("outcome")


class Recorder:
    """
    Holds what has not been written yet, and the histograms of all.

    `record` only notes the request; `fold`, called once a second, counts what
    was noted into one histogram per second, scenario, operation, outcome and
    time. Whatever reads folds first, so nothing noted is ever missing. A worker
    hands rows and histograms over to the master (`pack`), each once, and the
    master adds them to its own (`absorb`); counts and sums stay exact.
    """

    def __init__(self, now: Callable[[], float] = clock.now) -> None:
        """Start empty; `now` tells the seconds since the epoch."""
        self._now = now
        self._noted: list[tuple[Sample, Sequence[float]]] = []
        self._rows: list[Sample] = []
        self._count = 0
        # Each value is in exactly one of these: still in its second, or handed on to the totals.
        self._intervals: dict[int, _Histograms] = {}
        self._totals: _Histograms = {}

    def record(self, sample: Sample, gaps: Sequence[float] = ()) -> None:
        """
        Note one request, and the gaps between the tokens it streamed, in seconds.

        The gaps are read later and must not change. Raises ValueError when an
        instant, a gap or a count is not a number: no other request may suffer for it.
        """
        try:
            numbers = sample.intended_start + sample.start + sample.end
            numbers += (sample.first_token or 0.0) + (sample.longest_gap or 0.0) + sum(gaps)
            numbers += (sample.input_tokens or 0) + (sample.output_tokens or 0)
            numbers += (sample.llm_calls or 0) + (sample.tool_calls or 0) + (sample.events or 0)
            sound = math.isfinite(numbers)
        except (TypeError, OverflowError):
            sound = False
        if not sound:
            msg = f"a request has an instant, a gap or a count that is not a number: {sample}"
            raise ValueError(msg)
        self._noted.append((sample, gaps))

    def fold(self) -> None:
        """Count into histograms what was noted since the last time."""
        noted, self._noted = self._noted, []
        groups: dict[tuple[int, str, str, Outcome], tuple[list[float], ...]] = {}
        for sample, gaps in noted:
            key = (math.floor(sample.end), sample.scenario, sample.operation, sample.outcome)
            times = groups.get(key)
            if times is None:
                times = groups[key] = ([], [], [], [], [])
            times[0].append(sample.end - sample.intended_start)
            times[1].append(sample.end - sample.start)
            if sample.first_token is not None:
                times[2].append(sample.first_token - sample.intended_start)
                if (tpot := sample.tpot) is not None:
                    times[3].append(tpot)
            if gaps:
                times[4].extend(gaps)
        for (second, scenario, operation, outcome), times in groups.items():
            interval = self._intervals.setdefault(second, {})
            for time, values in zip(_TIMES, times, strict=True):
                if values:
                    histogram = HistogramKey(scenario, operation, outcome, time)
                    interval.setdefault(histogram, Distribution()).record_all(values)
        self._rows += [sample for sample, _ in noted]
        self._count += len(noted)

    @property
    def count(self) -> int:
        """How many requests were recorded or absorbed and not packed."""
        return self._count + len(self._noted)

    @property
    def histograms(self) -> _Histograms:
        """What was recorded or absorbed and not packed, all seconds together."""
        self.fold()
        merged: _Histograms = {}
        for part in (self._totals, *self._intervals.values()):
            _merge(merged, part)
        return merged

    @property
    def clamped(self) -> int:
        """How many values lay beyond what a histogram holds."""
        self.fold()
        parts = (self._totals, *self._intervals.values())
        return sum(d.clamped for part in parts for d in part.values())

    def take_rows(self) -> list[Sample]:
        """Hand over the rows that were not handed over before."""
        self.fold()
        rows, self._rows = self._rows, []
        return rows

    def take_intervals(self, *, everything: bool = False) -> dict[int, _Histograms]:
        """
        Hand over the histograms of each second, by the second of the epoch that requests ended in.

        Only seconds of which nothing more is expected, unless `everything` is
        asked for. What comes later all the same makes another histogram of its second.
        """
        self.fold()
        now = max([self._now(), *self._intervals])  # another machine's clock may be ahead
        settled = math.inf if everything else now - _SETTLED_SECONDS
        taken = {s: self._intervals.pop(s) for s in sorted(self._intervals) if s + 1 <= settled}
        for interval in taken.values():
            _merge(self._totals, interval)
        return taken

    def pack(self) -> dict[str, Any]:
        """Hand over rows and histograms as plain values, and start empty again."""
        self.fold()
        parts = [*self._intervals.items(), (None, self._totals)]  # None: taken before
        packed = {
            "count": self._count,
            "rows": [_row(sample) for sample in self._rows],
            "histograms": [
                [second, key.scenario, key.operation, str(key.outcome), key.time, d.encode()]
                for second, part in parts
                for key, d in part.items()
            ],
        }
        self._count, self._rows, self._intervals, self._totals = 0, [], {}, {}
        return packed

    def absorb(self, packed: Mapping[str, Any]) -> None:
        """Add what another process packed; raises ValueError, with nothing added, if damaged."""
        rows = [_sample(row) for row in packed["rows"]]
        read = [
            (
                second,
                HistogramKey(scenario, operation, Outcome(outcome), time),
                Distribution.decode(d),
            )
            for second, scenario, operation, outcome, time, d in packed["histograms"]
        ]
        for second, key, distribution in read:
            part = self._totals if second is None else self._intervals.setdefault(second, {})
            if key in part:
                part[key].merge(distribution)
            else:
                part[key] = distribution
        self._rows += rows
        self._count += packed["count"]


def _sample(row: Sequence[Any]) -> Sample:
    values = list(row)
    values[_OUTCOME] = Outcome(values[_OUTCOME])
    return Sample(*values)


def _merge(into: _Histograms, part: _Histograms) -> None:
    for key, distribution in part.items():
        into.setdefault(key, Distribution()).merge(distribution)
