"""The nouns refuse what cannot be, and derive what they can."""

from __future__ import annotations

import math

import pytest

from harness.model import Ask, Buckets, Interval, Outcome, Sample, Selector, Window


def test_the_times_of_a_sample():
    sample = Sample(
        "warm", "chat", "t", intended_start=10.0, start=10.5, end=12.0, outcome=Outcome.OK,
        first_token=11.0,
    )  # fmt: skip

    assert (sample.response_time, sample.service_time) == (2.0, 1.5)
    assert (sample.lateness, sample.ttft) == (0.5, 1.0)


def test_without_a_first_token_there_is_no_time_to_it():
    assert Sample("warm", "chat", "t", 10.0, 10.0, 11.0, Outcome.OK).ttft is None


def test_what_counts_as_answered():
    assert [o for o in Outcome if o.answered] == [
        Outcome.OK, Outcome.HTTP_ERROR, Outcome.BAD_ANSWER,
    ]  # fmt: skip


def test_a_window_holds_its_start_but_not_its_end():
    window = Window("warm", ("warm",), 10.0, 12.0)

    assert window.duration == 2.0
    assert [t in window for t in (9.9, 10.0, 11.9, 12.0)] == [False, True, True, False]


@pytest.mark.parametrize("end", [10.0, 9.0, math.nan])
def test_a_window_that_can_hold_nothing_is_refused(end: float):
    with pytest.raises(ValueError, match=f"empty window warm: start 10.0 is not before end {end}"):
        Window("warm", ("warm",), 10.0, end)


@pytest.mark.parametrize("ends", [(2.0, 1.0), (math.nan, 1.0), (1.0, math.nan)])
def test_an_interval_has_its_ends_in_order(ends: tuple[float, float]):
    with pytest.raises(ValueError, match=f"not an interval: {ends[0]} to {ends[1]}"):
        Interval(*ends)


def test_an_exact_value_is_an_interval_too():
    assert Interval.exactly(1.5) == Interval(1.5, 1.5)


def test_what_is_asked_in_words():
    hits = Selector("hits_total", {"result": ("hit", "stale"), "tier": ("disk",)})

    assert str(hits) == "hits_total{result=hit|stale, tier=disk}"
    assert str(Ask(parts={"good": hits, "total": Selector("gets_total")})) == (
        "good: hits_total{result=hit|stale, tier=disk}, total: gets_total"
    )
    assert str(Ask("ttft")) == "ttft"


def test_a_histogram_counts_what_is_in_its_last_bucket():
    assert Buckets((1.0, math.inf), (3, 5), 7.0).count == 5
    assert Buckets((), (), 0.0).count == 0
