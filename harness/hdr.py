"""
Between cells, where durations are counted, and the interchange format of HdrHistogram.

A histogram is a mapping from cells to counts, and holds only the cells that
were hit: a load makes some dozens of histograms every second, and recording
into the arrays of hdrh would cost it more than the requests' own rows. The cells
are those of hdrh and of the Java library for microseconds with a lowest value of 1,
a highest of 3,600,000,000 and three significant digits: up to 2047 every
microsecond has a cell, and each doubling beyond has 1024. The same bytes are
written as hdrh writes, in a tenth of its time; hdrh reads them.
Source: https://github.com/HdrHistogram/HdrHistogram, encoding V2.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping

from hdrh.histogram import HdrHistogram

LARGEST = 3_600_000_000
"""One hour, in microseconds."""

_DIGITS = 3
_HALVES = 10  # log2 of the cells in each doubling
_EXACT = 2 << _HALVES  # below this, every microsecond has a cell
_OUTER = struct.Struct(">II")  # cookie, length of what follows
_INNER = struct.Struct(">IIIIQQd")  # cookie, length, offset, digits, lowest, highest, ratio
_OUTER_COOKIE, _INNER_COOKIE = 0x1C849314, 0x1C849313


def cells_of(microseconds: Iterable[int]) -> list[int]:
    """Give the cell of each value; all of them must lie between 0 and LARGEST."""
    return [
        us
        if us < _EXACT
        else ((bucket := us.bit_length() - _HALVES - 1) << _HALVES) + (us >> bucket)
        for us in microseconds
    ]


def bounds(cell: int) -> tuple[int, int]:
    """Give the smallest and the largest value of a cell, in microseconds."""
    bucket = max(0, (cell >> _HALVES) - 1)
    low = (cell - (bucket << _HALVES)) << bucket
    return low, low + (1 << bucket) - 1


def encode(counts: Mapping[int, int]) -> str:
    """Write counts by cell as HdrHistogram does: compressed, in base64."""
    runs = bytearray()
    following = 0
    for cell in sorted(counts):
        if cell > following:
            _append(runs, 2 * (cell - following) - 1)  # a negative number: empty cells
        _append(runs, 2 * counts[cell])
        following = cell + 1
    inner = _INNER.pack(_INNER_COOKIE, len(runs), 0, _DIGITS, 1, LARGEST, 1.0)
    packed = zlib.compress(inner + runs)
    return base64.b64encode(_OUTER.pack(_OUTER_COOKIE, len(packed)) + packed).decode("ascii")


def decode(text: str) -> Counter[int]:
    """
    Read counts by cell, whoever wrote them.

    Raises ValueError when the text is damaged, when its values are not known as
    precisely as ours, or when they are beyond an hour.
    """
    try:
        histogram = HdrHistogram.decode(text)
    except Exception as error:  # hdrh, base64 and zlib have no common kind of error
        msg = f"it cannot be decoded ({error})"
        raise ValueError(msg) from error
    if histogram.lowest_trackable_value != 1 or histogram.significant_figures < _DIGITS:
        raise ValueError("its values are not known to three digits and to the microsecond")
    counts: Counter[int] = Counter()
    cells = memoryview(histogram.counts).cast("B").cast("Q").tolist()
    for index, count in enumerate(cells):
        if count:
            low = histogram.get_value_from_index(index)
            if low > LARGEST:
                raise ValueError("it holds values beyond an hour")
            counts[cells_of([low])[0]] += count
    return counts


def _append(runs: bytearray, number: int) -> None:
    """Add a number, seven bits a byte, the lowest first."""
    while number > 0x7F:
        runs.append(number & 0x7F | 0x80)
        number >>= 7
    runs.append(number)
