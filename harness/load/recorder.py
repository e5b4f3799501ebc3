"""Every request of a process, kept twice: a row, and a value in an HDR histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from harness.distribution import Distribution
from harness.model import Outcome, Sample
from harness.runs import HistogramKey


class Recorder:
    """
    Holds what has not been written yet, and the histograms of all.

    A worker sends both to the master (`pack`), which adds them to its own
    (`absorb`); counts and sums stay exact.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._rows: list[Sample] = []
        self.histograms: dict[HistogramKey, Distribution] = {}
        self.count = 0

    def record(self, sample: Sample) -> None:
        """Keep one request."""
        self._rows.append(sample)
        self.count += 1
        self._add(sample, "response_time", sample.response_time)
        self._add(sample, "service_time", sample.service_time)
        if sample.ttft is not None:
            self._add(sample, "ttft", sample.ttft)

    def _add(self, sample: Sample, time: str, seconds: float) -> None:
        key = HistogramKey(sample.scenario, sample.operation, sample.outcome, time)
        # A request may not end before it was due, whatever the float arithmetic says.
        self._distribution(key).record(max(0.0, seconds))

    def _distribution(self, key: HistogramKey) -> Distribution:
        if key not in self.histograms:
            self.histograms[key] = Distribution()
        return self.histograms[key]

    def take_rows(self) -> list[Sample]:
        """Hand over the rows that were not handed over before."""
        rows, self._rows = self._rows, []
        return rows

    def pack(self) -> dict[str, Any]:
        """Hand over rows and histograms as plain values, and start empty again."""
        packed = {
            "rows": [asdict(row) for row in self.take_rows()],
            "histograms": [
                [key.scenario, key.operation, str(key.outcome), key.time, distribution.encode()]
                for key, distribution in self.histograms.items()
            ],
        }
        self.histograms = {}
        self.count = 0
        return packed

    def absorb(self, packed: dict[str, Any]) -> None:
        """Add what another process packed."""
        rows: Sequence[dict[str, Any]] = packed["rows"]
        self._rows += [Sample(**{**row, "outcome": Outcome(row["outcome"])}) for row in rows]
        self.count += len(rows)
        for scenario, operation, outcome, time, encoded in packed["histograms"]:
            key = HistogramKey(scenario, operation, Outcome(outcome), time)
            self._distribution(key).merge(Distribution.decode(encoded))
