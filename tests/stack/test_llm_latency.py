"""Latency follows the declared laws, exactly repeatable from the seed."""

from __future__ import annotations

from math import exp

import pytest

from harness.stack.llm.draws import CallKey
from harness.stack.llm.latency import Pace, draw_pace

ONE_SIGMA = (0.1587, -1), (0.5, 0), (0.8413, 1)  # quantiles of a normal law, in sigmas


@pytest.fixture(scope="module")
def paces():
    return [draw_pace(CallKey(7, b"prompt", ordinal), scale=1.0) for ordinal in range(10_000)]


def quantile(values, q):
    return sorted(values)[round(q * len(values))]


@pytest.mark.parametrize(
    ("q", "sigmas"),
    [pytest.param(q, z, id=f"{z:+d} sigma") for q, z in ONE_SIGMA],
)
def test_quantiles_are_those_of_the_declared_laws(paces, q, sigmas):
    first_token = quantile([pace.first_token_seconds for pace in paces], q)
    rate = quantile([1 / pace.seconds_per_token for pace in paces], q)

    assert first_token == pytest.approx(0.55 * exp(0.35 * sigmas), rel=0.02)
    assert rate == pytest.approx(90 * exp(0.2 * sigmas), rel=0.02)


def test_the_scale_multiplies_every_time():
    key = CallKey(7, b"prompt", 0)
    whole, quarter = draw_pace(key, 1.0), draw_pace(key, 0.25)

    assert quarter.total_seconds(100) == pytest.approx(whole.total_seconds(100) / 4)
    assert quarter.first_token_seconds == pytest.approx(whole.first_token_seconds / 4)


def test_a_scale_of_zero_takes_no_time():
    assert draw_pace(CallKey(7, b"prompt", 0), 0.0).total_seconds(1000) == 0


@pytest.mark.parametrize(
    ("pieces", "instants"),
    [
        pytest.param(1, (1.5,), id="one piece comes when all of it is made"),
        pytest.param(2, (0.5, 1.5), id="the first token, then the last"),
        pytest.param(3, (0.5, 1.0, 1.5), id="evenly between first and last"),
    ],
)
def test_pieces_are_spread_over_the_generation_time(pieces, instants):
    pace = Pace(first_token_seconds=0.5, seconds_per_token=0.125)

    assert pace.instants(tokens=8, pieces=pieces) == instants


def test_a_delay_comes_before_the_first_token():
    assert Pace(0.5, 0.1).delayed(6) == Pace(6.5, 0.1)
