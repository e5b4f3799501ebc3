"""Cells and bytes are those of hdrh and of the Java library."""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import hdr

unhurried = settings(deadline=None)
values = st.lists(st.integers(0, hdr.LARGEST) | st.integers(0, 5000), max_size=60)


def of_hdrh(values: list[int], digits: int = 3) -> HdrHistogram:
    histogram = HdrHistogram(1, hdr.LARGEST, digits)
    for value in values:
        assert histogram.record_value(value)
    return histogram


@unhurried
@given(values)
def test_the_bytes_are_those_that_hdrh_writes(microseconds: list[int]):
    written = hdr.encode(Counter(hdr.cells_of(microseconds)))

    assert written == of_hdrh(microseconds).encode().decode("ascii")


@unhurried
@given(values)
def test_what_hdrh_wrote_is_read_cell_by_cell(microseconds: list[int]):
    text = of_hdrh(microseconds).encode().decode("ascii")

    assert hdr.decode(text) == Counter(hdr.cells_of(microseconds))


@unhurried
@given(values)
def test_hdrh_reads_what_is_written(microseconds: list[int]):
    read = HdrHistogram.decode(hdr.encode(Counter(hdr.cells_of(microseconds))))

    assert read.equals(of_hdrh(microseconds))


@settings(max_examples=5, deadline=None)  # hdrh needs 2 MB for each
@given(values)
def test_what_hdrh_wrote_with_more_digits_is_read_into_our_cells(microseconds: list[int]):
    text = of_hdrh(microseconds, digits=5).encode().decode("ascii")

    assert hdr.decode(text) == Counter(hdr.cells_of(microseconds))


@unhurried
@given(st.integers(0, hdr.LARGEST) | st.integers(0, 5000))
def test_a_cell_is_as_wide_as_hdrh_says(microseconds: int):
    hdrh = HdrHistogram(1, hdr.LARGEST, 3)

    assert hdr.bounds(hdr.cells_of([microseconds])[0]) == (
        hdrh.get_lowest_equivalent_value(microseconds),
        hdrh.get_highest_equivalent_value(microseconds),
    )


@pytest.mark.parametrize(
    ("microseconds", "cell", "bounds"),
    [
        pytest.param(0, 0, (0, 0), id="no time at all"),
        pytest.param(2047, 2047, (2047, 2047), id="the last cell of one microsecond"),
        pytest.param(2049, 2048, (2048, 2049), id="the first of two"),
        pytest.param(4095, 3071, (4094, 4095), id="the last of two"),
        pytest.param(4096, 3072, (4096, 4099), id="the first of four"),
    ],
)
def test_where_cells_begin_and_end(microseconds: int, cell: int, bounds: tuple[int, int]):
    assert hdr.cells_of([microseconds]) == [cell]
    assert hdr.bounds(cell) == bounds


@unhurried
@given(st.integers(1, 2**55))
def test_counts_of_any_size_come_back(count: int):
    assert hdr.decode(hdr.encode({7: count, 9: 1})) == {7: count, 9: 1}


# Written by the Java library: with five digits, as pulsar-perf does, and with two, in the log of
# HdrHistogram's own tests.
FIVE_DIGITS = "HISTFAAAACZ42pNpmSzMwMDAzgABrFCaEUQY189gsP8AlfjA/IKZjwUAbTEFwg=="
TWO_DIGITS = (
    "HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZk"
    "KmcCAEf2CsI="
)


def test_a_histogram_from_java_is_read():
    assert hdr.decode(FIVE_DIGITS) == {3: 248, 4: 244, 5: 7, 6: 2}


def packed(runs: bytes, *, highest: int = hdr.LARGEST) -> str:
    """An encoding made by hand, with whatever is wrong with it."""
    payload = struct.pack(">IIIIQQd", 0x1C849313, len(runs), 0, 3, 1, highest, 1.0) + runs
    squeezed = zlib.compress(payload)
    return base64.b64encode(struct.pack(">II", 0x1C849314, len(squeezed)) + squeezed).decode()


def test_a_single_empty_cell_may_be_written_as_a_count_of_zero():
    assert hdr.decode(packed(bytes([2, 0, 4]))) == {0: 1, 2: 2}


def two_hours() -> str:
    histogram = HdrHistogram(1, 4 * hdr.LARGEST, 3)
    histogram.record_value(2 * hdr.LARGEST)
    return histogram.encode().decode("ascii")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "cannot be decoded", id="nothing"),
        pytest.param("!!!!", "cannot be decoded", id="not base64"),
        pytest.param(FIVE_DIGITS[:-8], "cannot be decoded", id="cut off"),
        pytest.param(TWO_DIGITS, "not known to three digits", id="coarser cells"),
        pytest.param(
            packed(bytes([0xFF, 0xFF, 0xFF, 0x7F, 2]), highest=2**62),
            "cannot be decoded",
            id="a value of years",
        ),
        pytest.param(two_hours(), "beyond an hour", id="a value of two hours"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, problem: str):
    with pytest.raises(ValueError, match=problem):
        hdr.decode(text)
