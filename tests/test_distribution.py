"""No value is lost, none is invented, and what is not known exactly is an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.distribution import Distribution
from harness.model import Interval

microseconds = st.integers(0, 3_600_000_000)
some = st.lists(microseconds, min_size=1, max_size=60)
few = settings(max_examples=12, deadline=None)  # walking a histogram of an hour is slow


def of(values: Sequence[int]) -> Distribution:
    return Distribution(us / 1e6 for us in values)


@few
@given(some)
def test_count_sum_smallest_and_largest_are_exact(values: list[int]):
    d = of(values)

    assert d.count == len(values)
    assert d.total_seconds == sum(values) / 1e6
    assert d.largest == max(values) / 1e6
    assert d.cells()[0][0] == min(values) / 1e6


@few
@given(some, st.floats(0, 1))
def test_a_quantile_holds_the_value_of_rank_ceil_qn(values: list[int], q: float):
    rank = max(1, math.ceil(q * len(values) - 1e-9))
    truth = sorted(values)[rank - 1] / 1e6

    interval = of(values).quantile(q)

    assert interval is not None
    assert interval.low <= truth <= interval.high
    assert interval.high - interval.low <= truth / 1000 + 1e-6  # three significant digits


@few
@given(some, microseconds)
def test_counts_at_a_bound_bracket_the_truth(values: list[int], bound: int):
    surely, possibly = of(values).at_or_below(bound / 1e6)

    assert surely <= sum(v <= bound for v in values) <= possibly


@few
@given(st.lists(st.lists(microseconds, max_size=20), max_size=5))
def test_merging_any_split_gives_the_same_bytes_as_never_splitting(parts: list[list[int]]):
    merged = Distribution()
    for part in parts:
        merged.merge(of(part))

    assert merged.encode() == of([v for part in parts for v in part]).encode()


@few
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


@pytest.mark.parametrize("seconds", [-1e-6, -1.0, 3600.000001, 4000.0, 1e9, math.inf, math.nan])
def test_what_does_not_fit_is_refused_and_leaves_no_trace(seconds: float):
    d = Distribution([1.0])

    with pytest.raises(ValueError, match="s does not fit a distribution of 0 to 1 hour"):
        d.record(seconds)

    assert d.encode() == Distribution([1.0]).encode()


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
