"""No value is lost, none is invented, and what is not known exactly is an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.distribution import Distribution
from harness.model import Interval

unhurried = settings(deadline=None)
microseconds = st.integers(0, 3_600_000_000)
some = st.lists(microseconds, min_size=1, max_size=60)


def of(values: Sequence[int]) -> Distribution:
    return Distribution(us / 1e6 for us in values)


@unhurried
@given(some)
def test_count_sum_smallest_and_largest_are_exact(values: list[int]):
    d = of(values)

    assert d.count == len(values)
    assert d.total_seconds == sum(values) / 1e6
    assert d.largest == max(values) / 1e6
    assert d.cells()[0][0] == min(values) / 1e6


@unhurried
@given(some, st.floats(0, 1))
def test_a_quantile_holds_the_value_of_rank_ceil_qn(values: list[int], q: float):
    rank = max(1, math.ceil(q * len(values) - 1e-9))
    truth = sorted(values)[rank - 1] / 1e6

    interval = of(values).quantile(q)

    assert interval is not None
    assert interval.low <= truth <= interval.high
    assert interval.high - interval.low <= truth / 1000 + 1e-6  # three significant digits


@unhurried
@given(some, microseconds)
def test_counts_at_a_bound_bracket_the_truth(values: list[int], bound: int):
    surely, possibly = of(values).at_or_below(bound / 1e6)

    assert surely <= sum(v <= bound for v in values) <= possibly


@unhurried
@given(st.lists(st.lists(microseconds, max_size=20), max_size=5))
def test_merging_any_split_gives_the_same_bytes_as_never_splitting(parts: list[list[int]]):
    merged = Distribution()
    for part in parts:
        merged.merge(of(part))

    assert merged.encode() == of([v for part in parts for v in part]).encode()


@unhurried
@given(st.lists(microseconds, max_size=40))
def test_decoding_gives_back_what_was_encoded(values: list[int]):
    original = of(values)

    copy = Distribution.decode(original.encode())

    assert copy.encode() == original.encode()
    assert copy.cells() == original.cells()
    assert copy.total_seconds == original.total_seconds


def test_recording_goes_on_after_decoding():
    copy = Distribution.decode(Distribution([1.0]).encode())
    copy.record(2.0)

    assert copy.encode() == Distribution([1.0, 2.0]).encode()


@pytest.mark.parametrize(
    ("seconds", "cell"),
    [
        pytest.param(0.0, (0.0, 0.0, 1), id="no time at all"),
        pytest.param(-4e-7, (0.0, 0.0, 1), id="less than half a microsecond too little"),
        pytest.param(1e-6, (1e-6, 1e-6, 1), id="a microsecond"),
        pytest.param(3600.0, (3600.0, 3600.0, 1), id="an hour"),
    ],
)
def test_the_ends_of_what_fits(seconds: float, cell: tuple[float, float, int]):
    assert Distribution([seconds]).cells() == [cell]


@unhurried
@given(st.lists(st.floats(allow_nan=False), max_size=40))
def test_many_at_once_are_recorded_as_one_by_one(values: list[float]):
    one_by_one = Distribution()
    for value in values:
        one_by_one.record(value)

    at_once = Distribution(values)

    assert at_once.encode() == one_by_one.encode()
    assert at_once.count == len(values)


@unhurried
@given(some)
def test_its_counts_are_those_that_hdrh_records(values: list[int]):
    hdrh = HdrHistogram(1, 3_600_000_000, 3)
    for value in values:
        hdrh.record_value(value)

    assert of(values).hdr == hdrh.encode().decode("ascii")


@pytest.mark.parametrize(
    ("seconds", "held"),
    [
        pytest.param(-1e-6, 0.0, id="a microsecond too little"),
        pytest.param(-1.0, 0.0, id="less than nothing"),
        pytest.param(-math.inf, 0.0, id="less than anything"),
        pytest.param(3600.000001, 3600.0, id="a microsecond too much"),
        pytest.param(1e9, 3600.0, id="years"),
        pytest.param(math.inf, 3600.0, id="for ever"),
    ],
)
def test_what_does_not_fit_is_taken_for_the_nearer_end_and_counted(seconds: float, held: float):
    d = Distribution([1.0, seconds])

    assert (d.count, d.clamped, d.total_seconds) == (2, 1, 1.0 + held)
    assert d.cells() == Distribution([1.0, held]).cells()


def test_what_was_clamped_is_counted_through_encoding_and_merging():
    merged = Distribution([5000.0])
    merged.merge(Distribution.decode(Distribution([-1.0, 2.0, 1e9]).encode()))

    assert (merged.count, merged.clamped) == (4, 3)
    assert Distribution.decode(merged.encode()).clamped == 3


def test_what_is_not_a_number_is_refused_and_leaves_no_trace():
    d = Distribution([1.0])

    with pytest.raises(ValueError, match="a duration is not a number"):
        d.record_all([2.0, math.nan, math.inf])
    with pytest.raises(ValueError, match="a duration is not a number"):
        d.record_all([math.inf, math.nan])
    with pytest.raises(ValueError, match="a duration is not a number"):
        d.record(math.nan)

    assert d.encode() == Distribution([1.0]).encode()


def test_of_a_histogram_alone_the_sum_is_not_known():
    original = Distribution([0.0030015, 5.0, 5.0])

    read = Distribution.of_hdr(original.hdr, largest=5.0)

    assert (read.hdr, read.count, read.largest) == (original.hdr, 3, 5.0)
    assert read.cells()[0] == (0.003002, 0.003003, 1)
    assert Distribution.of_hdr(original.hdr).largest == 5.001215  # the cell of 5 s ends there
    with pytest.raises(ValueError, match="is not known"):
        _ = read.total_seconds


def test_what_is_merged_with_an_unknown_sum_has_none():
    whole = Distribution([1.0])
    whole.merge(Distribution.of_hdr(Distribution([2.0]).hdr))

    assert whole.hdr == Distribution([1.0, 2.0]).hdr
    with pytest.raises(ValueError, match="not known"):
        _ = whole.total_seconds


def test_a_histogram_of_nothing_holds_nothing():
    empty = Distribution.of_hdr(Distribution().hdr)

    assert (empty.count, empty.total_seconds, empty.cells()) == (0, 0.0, [])


def test_nothing_recorded_is_not_zero():
    empty = Distribution()

    assert (empty.count, empty.total_seconds, empty.largest) == (0, 0.0, None)
    assert (empty.quantile(0.95), empty.at_rank(1), empty.cells()) == (None, None, [])
    assert empty.at_or_below(1.0) == (0, 0)


@pytest.mark.parametrize(
    ("q", "expected"),
    [(0.0, 0.0001), (0.25, 0.0001), (0.5, 0.0002), (0.51, 0.0003), (0.95, 0.0004), (1.0, 0.0004)],
)
def test_quantiles_of_four_values(q: float, expected: float):
    d = Distribution([0.0004, 0.0002, 0.0001, 0.0003])

    assert d.quantile(q) == Interval.exactly(expected)


def test_above_two_milliseconds_a_value_is_known_to_a_cell():
    assert Distribution([0.001, 0.0030015, 5.0]).quantile(0.5) == Interval(0.003002, 0.003003)


@pytest.mark.parametrize("rank", [0, -1, 3])
def test_a_rank_that_no_value_has(rank: int):
    assert Distribution([1.0, 2.0]).at_rank(rank) is None


def test_counts_follow_what_is_recorded_after_they_were_read():
    d = Distribution([1.0])
    before = d.at_or_below(5.0)
    d.record(2.0)

    assert (before, d.at_or_below(5.0)) == ((1, 1), (2, 2))


WHOLE = Distribution([1.0, 2.0, 3.0]).encode()
HDR = str(WHOLE["hdr"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param({"hdr": ""}, "not an HDR histogram: ", id="nothing"),
        pytest.param({"hdr": HDR[:-8]}, "not an HDR histogram: ", id="cut off"),
        pytest.param(
            {"hdr": HDR[:24] + "AAAA" + HDR[28:]}, "not an HDR histogram: ", id="garbled"
        ),
        pytest.param({"hdr": "é"}, "not an HDR histogram: ", id="not even ASCII"),
        pytest.param({"count": 4}, "histogram of 3 values says it holds 4", id="another count"),
        pytest.param(
            {"hdr": Distribution([1.0]).encode()["hdr"]},
            "histogram of 1 values says it holds 3",
            id="another histogram",
        ),
        pytest.param(
            {"sum_us": 1},
            "3 values from 1000000 to 3000000 us cannot sum up to 1 us",
            id="too small a sum",
        ),
        pytest.param(
            {"clamped": 4}, "4 of 3 values cannot have been clamped", id="too many clamped"
        ),
        pytest.param(
            {"min_us": None},
            "3 values from None to 3000000 us cannot sum up to 6000000 us",
            id="no smallest value",
        ),
    ],
)
def test_a_damaged_encoding_is_refused(change: dict[str, object], problem: str):
    with pytest.raises(ValueError) as caught:
        Distribution.decode({**WHOLE, **change})

    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("name", ["hdr", "count", "sum_us", "min_us", "max_us"])
def test_an_encoding_without_one_of_its_fields_is_refused(name: str):
    with pytest.raises(ValueError):
        Distribution.decode({k: v for k, v in WHOLE.items() if k != name})


def test_an_encoding_from_before_values_were_clamped_is_read():
    old = {k: v for k, v in WHOLE.items() if k != "clamped"}

    assert Distribution.decode(old).encode() == WHOLE
