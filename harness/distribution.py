"""A latency distribution that refuses to lose a value or to invent one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from hdrh.histogram import HdrHistogram
from hdrh.iterators import HdrIterationValue

from harness.model import Interval

_LARGEST = 3_600_000_000  # one hour, in microseconds
_DIGITS = 3


class Distribution:
    """
    Durations in seconds, kept to three significant digits in an HDR histogram.

    Count, sum, smallest and largest are exact; everything else is known to the
    width of an HDR cell and is answered as an interval. Cells hold whole
    microseconds. Source: HdrHistogram, https://hdrhistogram.org.
    """

    def __init__(self, values: Iterable[float] = ()) -> None:
        """Record the values given."""
        self._histogram = HdrHistogram(1, _LARGEST, _DIGITS)
        self._sum = 0
        self._smallest: int | None = None
        self._largest: int | None = None
        self._cells: list[tuple[float, float, int]] | None = None
        for value in values:
            self.record(value)

    def record(self, seconds: float) -> None:
        """Record one duration; raises ValueError if it cannot be held."""
        microseconds = round(seconds * 1e6) if math.isfinite(seconds) else -1
        # hdrh drops what does not fit and answers False: a lost sample must be loud.
        fits = 0 <= microseconds <= _LARGEST and self._histogram.record_value(microseconds)
        if not fits:
            msg = f"{seconds} s does not fit a distribution of 0 to 1 hour"
            raise ValueError(msg)
        self._sum += microseconds
        self._widen(microseconds, microseconds)

    def merge(self, other: Distribution) -> None:
        """Add all that another distribution holds; counts and sums stay exact."""
        if other._smallest is None or other._largest is None:
            return
        self._histogram.add(other._histogram)
        self._sum += other._sum
        self._widen(other._smallest, other._largest)

    def _widen(self, low: int, high: int) -> None:
        self._cells = None
        self._smallest = low if self._smallest is None else min(self._smallest, low)
        self._largest = high if self._largest is None else max(self._largest, high)

    def encode(self) -> dict[str, object]:
        """Write it as JSON-ready values; `hdr` is in the interchange format of HdrHistogram."""
        return {
            "hdr": self._histogram.encode().decode("ascii"),
            "sum_us": self._sum,
            "min_us": self._smallest,
            "max_us": self._largest,
            "count": self.count,
        }

    @classmethod
    def decode(cls, fields: Mapping[str, object]) -> Distribution:
        """Read what `encode` wrote; raises ValueError when it is damaged."""
        distribution = cls()
        hdr, count, total, smallest, largest = (
            fields.get(name) for name in ("hdr", "count", "sum_us", "min_us", "max_us")
        )
        try:
            distribution._histogram.decode_and_add(str(hdr))
        except Exception as error:  # hdrh and zlib have no common kind of error
            msg = f"not an HDR histogram: {error}"
            raise ValueError(msg) from error
        if distribution.count != count:
            msg = f"histogram of {distribution.count} values says it holds {count}"
            raise ValueError(msg)
        if count == 0:
            return distribution
        if (
            not (isinstance(smallest, int) and isinstance(largest, int) and isinstance(total, int))
            or not count * smallest <= total <= count * largest
        ):
            msg = f"{count} values from {smallest} to {largest} us cannot sum up to {total} us"
            raise ValueError(msg)
        distribution._sum = total
        distribution._widen(smallest, largest)
        return distribution

    @property
    def count(self) -> int:
        """How many durations it holds."""
        return int(self._histogram.total_count)

    @property
    def total_seconds(self) -> float:
        """The exact sum of all durations."""
        return self._sum / 1e6

    @property
    def largest(self) -> float | None:
        """The largest duration, exactly; None if there are none."""
        return None if self._largest is None else self._largest / 1e6

    def quantile(self, q: float) -> Interval | None:
        """Where the duration of rank ceil(q * count) lies; None if there are none."""
        return self.at_rank(max(1, math.ceil(q * self.count - 1e-9)))

    def at_rank(self, rank: int) -> Interval | None:
        """Where the rank-th smallest duration lies, counted from 1; None if there is none."""
        seen = 0
        for low, high, count in self.cells():
            seen += count
            if seen >= rank >= 1:
                return Interval(low, high)
        return None

    def at_or_below(self, bound: float) -> tuple[int, int]:
        """How many are surely, and how many possibly, at or below the bound."""
        surely = possibly = 0
        for low, high, count in self.cells():
            surely += count if high <= bound else 0
            possibly += count if low <= bound else 0
        return surely, possibly

    def cells(self) -> list[tuple[float, float, int]]:
        """Give the occupied cells: lowest and highest duration they may hold, and their count."""
        if self._smallest is None or self._largest is None:
            return []
        if self._cells is None:  # walking the histogram is slow, and readers come often
            self._cells = [
                (
                    max(self._lowest(item), self._smallest) / 1e6,
                    min(self._highest(item), self._largest) / 1e6,
                    int(item.count_at_value_iterated_to),
                )
                for item in self._histogram.get_recorded_iterator()
            ]
        return self._cells

    def _lowest(self, item: HdrIterationValue) -> int:
        return int(self._histogram.get_lowest_equivalent_value(item.value_iterated_to))

    def _highest(self, item: HdrIterationValue) -> int:
        return int(self._histogram.get_highest_equivalent_value(item.value_iterated_to))
