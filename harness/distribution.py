"""A latency distribution that refuses to lose a value or to invent one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from harness import hdr
from harness.model import Interval


class Distribution:
    """
    Durations in seconds, kept to three significant digits in an HDR histogram.

    Count, sum, smallest and largest are exact; everything else is known to the
    width of an HDR cell and is answered as an interval. Cells hold whole
    microseconds from 0 to one hour; what lies beyond is taken for the nearer
    end and counted in `clamped`. Source: HdrHistogram, https://hdrhistogram.org.
    """

    def __init__(self, values: Iterable[float] = ()) -> None:
        """Record the values given."""
        self._counts: Counter[int] = Counter()
        self._count = 0
        self._sum: int | None = 0
        self._smallest: int | None = None
        self._largest: int | None = None
        self._cells: list[tuple[float, float, int]] | None = None
        self.clamped = 0
        self.record_all(values)

    def record(self, seconds: float) -> None:
        """Record one duration; raises ValueError if it is not a number."""
        self.record_all((seconds,))

    def record_all(self, values: Iterable[float]) -> None:
        """Record many at once, or raise ValueError and record none if one is not a number."""
        microseconds, clamped = _whole_microseconds(list(values))
        if not microseconds:
            return
        self._counts.update(hdr.cells_of(microseconds))
        self._count += len(microseconds)
        if self._sum is not None:
            self._sum += sum(microseconds)
        self.clamped += clamped
        self._widen(min(microseconds), max(microseconds))

    def merge(self, other: Distribution) -> None:
        """Add all that another distribution holds; counts and sums stay exact."""
        if other._smallest is None or other._largest is None:
            return
        self._counts.update(other._counts)
        self._count += other._count
        if self._sum is None or other._sum is None:
            self._sum = None
        else:
            self._sum += other._sum
        self.clamped += other.clamped
        self._widen(other._smallest, other._largest)

    def _widen(self, low: int, high: int) -> None:
        self._cells = None
        self._smallest = low if self._smallest is None else min(self._smallest, low)
        self._largest = high if self._largest is None else max(self._largest, high)

    @property
    def hdr(self) -> str:
        """Its counts in the interchange format of HdrHistogram (V2, compressed, base64)."""
        return hdr.encode(self._counts)

    @classmethod
    def of_hdr(cls, text: str, largest: float | None = None) -> Distribution:
        """
        Read counts from the interchange format, whoever wrote them, as microseconds.

        Smallest and largest are then known to the width of a cell, unless the
        largest is given, and the sum is not known at all. Raises ValueError
        when the text is damaged, or its values are coarser than ours or beyond an hour.
        """
        distribution = cls()
        distribution._read(text)
        if distribution._counts:
            low, _ = hdr.bounds(min(distribution._counts))
            _, high = hdr.bounds(max(distribution._counts))
            exact = high if largest is None else min(round(largest * 1e6), high)
            distribution._widen(low, exact)
            distribution._sum = None
        return distribution

    def _read(self, text: str) -> None:
        """Take over the counts of an encoded histogram; this one is still empty."""
        try:
            self._counts = hdr.decode(text)
        except ValueError as error:
            msg = f"not an HDR histogram: {error}"
            raise ValueError(msg) from error
        self._count = self._counts.total()

    def encode(self) -> dict[str, object]:
        """Write it as JSON-ready values; `hdr` is in the interchange format of HdrHistogram."""
        return {
            "hdr": self.hdr,
            "sum_us": self._sum,
            "min_us": self._smallest,
            "max_us": self._largest,
            "count": self.count,
            "clamped": self.clamped,
        }

    @classmethod
    def decode(cls, fields: Mapping[str, object]) -> Distribution:
        """Read what `encode` wrote, now or before `clamped` was; raises ValueError if damaged."""
        distribution = cls()
        distribution._read(str(fields.get("hdr")))
        count, total, smallest, largest = (
            fields.get(name) for name in ("count", "sum_us", "min_us", "max_us")
        )
        clamped = fields.get("clamped", 0)
        if distribution.count != count:
            msg = f"histogram of {distribution.count} values says it holds {count}"
            raise ValueError(msg)
        if not (isinstance(clamped, int) and 0 <= clamped <= count):
            msg = f"{clamped} of {count} values cannot have been clamped"
            raise ValueError(msg)
        if count == 0:
            return distribution
        if (
            not (isinstance(smallest, int) and isinstance(largest, int) and isinstance(total, int))
            or not count * smallest <= total <= count * largest
        ):
            msg = f"{count} values from {smallest} to {largest} us cannot sum up to {total} us"
            raise ValueError(msg)
        distribution.clamped = clamped
        distribution._sum = total
        distribution._smallest = smallest
        distribution._largest = largest
        return distribution

    @property
    def count(self) -> int:
        """How many durations it holds."""
        return self._count

    @property
    def total_seconds(self) -> float:
        """The exact sum of all durations; raises ValueError if only their cells are known."""
        if self._sum is None:
            msg = "the sum of durations that were read from a log of histograms is not known"
            raise ValueError(msg)
        return self._sum / 1e6

    @property
    def largest(self) -> float | None:
        """The largest duration, exactly if it was recorded here; None if there are none."""
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
        if self._cells is None:  # readers come often
            limits = ((hdr.bounds(cell), count) for cell, count in sorted(self._counts.items()))
            self._cells = [
                (max(low, self._smallest) / 1e6, min(high, self._largest) / 1e6, count)
                for (low, high), count in limits
            ]
        return self._cells


def _whole_microseconds(values: Sequence[float]) -> tuple[list[int], int]:
    """Round to microseconds between 0 and an hour; tell how many did not fit."""
    try:
        microseconds = [round(seconds * 1e6) for seconds in values]
    except (ValueError, OverflowError) as error:
        if any(map(math.isnan, values)):
            msg = "a duration is not a number"
            raise ValueError(msg) from error
        # The others are without end.
        microseconds = [round(min(max(s, -1.0), hdr.LARGEST) * 1e6) for s in values]
    if not microseconds or (min(microseconds) >= 0 and max(microseconds) <= hdr.LARGEST):
        return microseconds, 0
    held = [min(max(value, 0), hdr.LARGEST) for value in microseconds]
    return held, sum(a != b for a, b in zip(held, microseconds, strict=True))
