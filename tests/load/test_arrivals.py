"""Schedules of intended starts."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean, stdev

import pytest

from harness.load.arrivals import Constant, Poisson, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("30s", 30.0, id="seconds"),
        pytest.param("0.5s", 0.5, id="parts of a second"),
        pytest.param("2m", 120.0, id="minutes"),
        pytest.param("1h", 3600.0, id="hours"),
        pytest.param("0s", 0.0, id="nothing at all"),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("30", id="no unit"),
        pytest.param("30 s", id="a blank"),
        pytest.param("-1s", id="below zero"),
        pytest.param("1m30s", id="two units"),
        pytest.param("5ms", id="a unit that is not known"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_not_a_duration_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        seconds(text)
    assert str(refused.value) == f"{text!r} is not a duration; write it like 30s, 2m or 1h"


def test_constant_arrivals_are_at_even_distances_from_the_first_instant() -> None:
    assert list(Constant(4, "2s").instants(2.0, seed=1)) == [
        0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75,
    ]  # fmt: skip


def test_constant_arrivals_do_not_drift() -> None:
    assert list(Constant(3, "1h").instants(3600.0, seed=1))[-1] == 10799 / 3


def test_poisson_arrivals_are_the_same_for_the_same_seed_only() -> None:
    schedule = Poisson(5, "60s")
    assert list(schedule.instants(60.0, seed=7)) == list(schedule.instants(60.0, seed=7))
    assert list(schedule.instants(60.0, seed=7)) != list(schedule.instants(60.0, seed=8))


def test_a_longer_poisson_schedule_begins_with_the_shorter_one() -> None:
    schedule = Poisson(5, "60s")
    short = list(schedule.instants(10.0, seed=7))
    assert list(schedule.instants(60.0, seed=7))[: len(short)] == short


def test_poisson_arrivals_keep_their_rate_and_are_independent_of_each_other() -> None:
    offsets = list(Poisson(10, "1h").instants(3600.0, seed=3))
    gaps = [later - earlier for earlier, later in pairwise(offsets)]
    # 36000 expected, standard deviation 190: five of them each way.
    assert 35_050 < len(offsets) < 36_950
    # Exponential gaps: their standard deviation is their mean; even gaps would give 0.
    assert stdev(gaps) / fmean(gaps) == pytest.approx(1.0, abs=0.05)
    # No gap tells of the next one.
    here, after = gaps[:-1], gaps[1:]
    middle, spread = fmean(gaps), stdev(gaps)
    products = [(a - middle) * (b - middle) for a, b in zip(here, after, strict=True)]
    assert abs(fmean(products) / spread**2) < 5 / len(products) ** 0.5


@pytest.mark.parametrize("kind", [Constant, Poisson])
def test_all_instants_lie_within_the_length(kind: type[Constant | Poisson]) -> None:
    offsets = list(kind(50, "1s").instants(1.0, seed=1))
    assert offsets == sorted(offsets)
    assert 0.0 <= offsets[0] <= offsets[-1] < 1.0
    assert list(kind(50, "1s").instants(0.0, seed=1)) == []


@pytest.mark.parametrize("kind", [Constant, Poisson])
@pytest.mark.parametrize(
    ("rate", "duration", "warmup", "problem"),
    [
        pytest.param(0, "1s", "0s", "rate=0: give more than 0 arrivals per second", id="no rate"),
        pytest.param(
            -2, "1s", "0s", "rate=-2: give more than 0 arrivals per second", id="a negative rate"
        ),
        pytest.param(
            float("nan"), "1s", "0s", "rate=nan: give more than 0 arrivals per second", id="nan"
        ),
        pytest.param(
            1, "fast", "0s", "'fast' is not a duration; write it like 30s, 2m or 1h", id="duration"
        ),
        pytest.param(
            1, "1s", "0", "'0' is not a duration; write it like 30s, 2m or 1h", id="warm-up"
        ),
    ],
)
def test_arrivals_that_never_come_are_refused_when_they_are_declared(
    kind: type[Constant | Poisson], rate: float, duration: str, warmup: str, problem: str
) -> None:
    with pytest.raises(ValueError) as refused:
        kind(rate, duration, warmup)
    assert str(refused.value) == problem


def test_arrivals_say_what_they_are() -> None:
    assert str(Constant(2.5, "30s")) == "constant, 2.5 per second for 30s"
    assert str(Poisson(4, "60s", "10s")) == "Poisson, 4 per second for 60s"
