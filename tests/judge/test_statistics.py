"""How sure one can be: against published figures, and against scipy's own intervals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from harness.judge.statistics import (
    events_to_decide,
    quantile_ranks,
    share_at_least,
    share_at_most,
)


@pytest.mark.parametrize(
    ("target", "events"),
    [(0.80, 14), (0.95, 59), (0.99, 299), (0.995, 598), (0.999, 2995)],
)
def test_events_without_a_failure_that_show_a_share(target: float, events: int):
    assert share_at_least(events, events, 0.95) >= target
    assert share_at_least(events - 1, events - 1, 0.95) < target
    assert events_to_decide(1.0, target, 0.95) == events


@pytest.mark.parametrize(
    ("events", "target", "bad"),
    [
        (500, 0.95, 16), (500, 0.80, 84), (500, 0.995, -1),
        (1000, 0.95, 38), (1000, 0.80, 178), (1000, 0.995, 1),
        (5000, 0.95, 224), (5000, 0.80, 953), (5000, 0.995, 16),
    ],
)  # fmt: skip
def test_the_most_failures_with_which_a_share_is_still_shown(events: int, target: float, bad: int):
    """-1: not even without a failure."""
    assert bad < 0 or share_at_least(events - bad, events, 0.95) >= target
    assert share_at_least(events - bad - 1, events, 0.95) < target


@pytest.mark.parametrize(
    ("q", "events", "ranks"),
    [
        pytest.param(0.95, 200, (184, 197), id="p95 of 200"),
        pytest.param(0.95, 1000, (936, 964), id="p95 of 1000"),
        pytest.param(0.99, 365, (357, None), id="p99 of 365 has no upper end"),
        pytest.param(0.5, 5, (None, None), id="the median of 5 has no ends at all"),
        pytest.param(0.5, 6, (1, 6), id="the median of 6 has both"),
        pytest.param(0.5, 0, (None, None), id="nothing"),
    ],
)
def test_ranks_between_which_a_quantile_lies(
    q: float, events: int, ranks: tuple[int | None, int | None]
):
    assert quantile_ranks(q, events, 0.95) == ranks


def test_p99_has_an_upper_end_from_368_events_on():
    """0.99 ** 368 = 0.0247: from here on, one value above it is 97.5 % sure."""
    assert quantile_ranks(0.99, 367, 0.95)[1] is None
    assert quantile_ranks(0.99, 368, 0.95)[1] == 368


@settings(deadline=None)
@given(q=st.floats(0.01, 0.999), events=st.integers(1, 3000), confidence=st.floats(0.5, 0.999))
def test_each_rank_is_the_nearest_one_that_is_sure_enough(
    q: float, events: int, confidence: float
):
    """The chance that too few events lie below the quantile is binomial."""
    low, high = quantile_ranks(q, events, confidence)
    tail = (1 - confidence) / 2

    if low is not None:
        assert binom.cdf(low - 1, events, q) <= tail + 1e-9
    assert binom.cdf(low or 0, events, q) > tail - 1e-9
    if high is not None:
        assert binom.sf(high - 1, events, q) <= tail + 1e-9
    assert binom.sf((high or events + 1) - 2, events, q) > tail - 1e-9


@settings(deadline=None)
@given(st.data(), st.integers(1, 5000), st.floats(0.5, 0.999))
def test_limits_are_those_of_the_exact_binomial_test(
    data: st.DataObject, events: int, confidence: float
):
    good = data.draw(st.integers(0, events))
    two_sided = binomtest(good, events).proportion_ci(1 - 2 * (1 - confidence), method="exact")

    assert share_at_least(good, events, confidence) == pytest.approx(two_sided.low, abs=1e-9)
    assert share_at_most(good, events, confidence) == pytest.approx(two_sided.high, abs=1e-9)


def test_no_event_says_nothing():
    assert (share_at_least(0, 0, 0.95), share_at_most(0, 0, 0.95)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("share", "target", "after", "events"),
    [
        pytest.param(1.0, 0.995, 100, 598, id="more of the same"),
        pytest.param(0.0, 0.05, 0, 59, id="no bad one"),
        pytest.param(0.0, 0.95, 0, 2, id="two bad ones are enough to doubt 95 %"),
        pytest.param(0.95, 0.95, 0, None, id="exactly on the target, for ever"),
        pytest.param(0.9501, 0.95, 1000, None, id="so near that a million would not do"),
    ],
)
def test_how_many_events_would_decide(share: float, target: float, after: int, events: int | None):
    assert events_to_decide(share, target, 0.95, after) == events


@settings(deadline=None, max_examples=50)
@given(good=st.integers(0, 300), events=st.integers(1, 300), target=st.floats(0.05, 0.99))
def test_what_would_decide_is_more_than_what_did_not(good: int, events: int, target: float):
    good = min(good, events)
    if share_at_least(good, events, 0.95) >= target or share_at_most(good, events, 0.95) < target:
        return
    needed = events_to_decide(good / events, target, 0.95, events)
    if needed is None:
        return

    more = round(good / events * needed)

    assert needed > events
    assert share_at_least(more, needed, 0.95) >= target or share_at_most(more, needed, 0.95) < (
        target
    )
