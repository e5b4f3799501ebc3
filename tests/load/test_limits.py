"""When sending stops: to the request and, as far as it can be known beforehand, to the cent."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.limits import Limits
from harness.load.plan import share
from harness.model import Outcome, Sample
from harness.prices import ModelPrice, PriceBook

unhurried = settings(max_examples=60, deadline=None)
PRICES = PriceBook((ModelPrice("m", "^m$", {"input": 0.01, "output": 0.04}),))


def sample(
    outcome: Outcome = Outcome.OK, *, tokens: int | None = 1, traced: bool = True
) -> Sample:
    return Sample(
        scenario="s", operation="chat", trace_id="0", intended_start=1, start=1, end=2,
        outcome=outcome, input_tokens=tokens, output_tokens=tokens, traced=traced,
    )  # fmt: skip


def price(of: Sample) -> float | None:
    """Five cents for a token in and a token out."""
    if of.input_tokens is None or of.output_tokens is None:
        return None
    return PRICES.cost("m", {"input": of.input_tokens, "output": of.output_tokens})


def test_without_limits_everything_is_admitted() -> None:
    limits = Limits(None, None, price)
    assert all(limits.admits() for _ in range(1000))
    assert limits.reached == ""


@unhurried
@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_exactly_so_many_requests_are_sent_however_they_overlap(
    most: int, chance: random.Random
) -> None:
    limits = Limits(most, None, price)
    sent = under_way = 0
    for _ in range(3 * most + 5):
        if under_way and chance.random() < 0.4:
            limits.spent(sample(chance.choice([Outcome.OK, Outcome.TIMEOUT, Outcome.CUT_OFF])))
            under_way -= 1
        elif limits.admits():
            sent += 1
            under_way += 1
        limits.spent(sample(Outcome.SHED))
    while limits.admits():
        sent += 1
    assert sent == most
    assert limits.reached == f"--max-requests {most} was reached"


def test_the_reason_is_told_only_when_something_was_turned_away() -> None:
    limits = Limits(1, None, price)
    assert limits.admits()
    assert limits.reached == ""
    assert not limits.admits()
    assert limits.reached == "--max-requests 1 was reached"


def test_money_is_spent_to_the_last_request_that_fits() -> None:
    limits = Limits(None, 0.52, price)
    sent = 0
    while limits.admits():
        limits.spent(sample())
        sent += 1
    assert sent == 10
    assert limits.spent_usd == pytest.approx(0.50)
    assert limits.reached == "--budget-usd 0.52 was reached"


def test_what_is_under_way_is_expected_to_cost_what_the_others_did() -> None:
    limits = Limits(None, 0.52, price)
    assert limits.admits()
    limits.spent(sample())
    under_way = 0
    while limits.admits():
        under_way += 1
    assert under_way == 9
    for _ in range(under_way):
        limits.spent(sample())
    assert limits.spent_usd == pytest.approx(0.50)
    # Once stopped, it is stopped: the report says one thing.
    assert not limits.admits()


def test_the_first_requests_have_no_price_yet() -> None:
    limits = Limits(None, 0.10, price)
    assert all(limits.admits() for _ in range(4))
    limits.spent(sample())
    assert not limits.admits()
    for _ in range(3):
        limits.spent(sample())
    # Those that were under way by then: more than the budget, and said so by spent_usd.
    assert limits.spent_usd == pytest.approx(0.20)


@pytest.mark.parametrize(
    ("outcome", "usd"),
    [
        pytest.param(Outcome.TIMEOUT, 0.10, id="nobody waited for it"),
        pytest.param(Outcome.BROKEN_STREAM, 0.10, id="it broke off"),
        pytest.param(Outcome.HTTP_ERROR, 0.10, id="it failed on the server"),
        pytest.param(Outcome.CUT_OFF, 0.10, id="the load ended"),
        pytest.param(Outcome.REFUSED, 0.05, id="it never arrived"),
    ],
)
def test_a_failure_that_tells_no_tokens_costs_what_the_others_did_unless_it_never_arrived(
    outcome: Outcome, usd: float
) -> None:
    limits = Limits(None, 0.14, price)
    for ended in (sample(), sample(outcome, tokens=None)):
        assert limits.admits()
        limits.spent(ended)
    assert limits.spent_usd == pytest.approx(usd)
    # One more fits only beside the one that cost nothing.
    assert limits.admits() is (outcome is Outcome.REFUSED)


def test_an_answer_that_tells_no_tokens_ends_a_load_with_a_budget() -> None:
    limits = Limits(None, 100.0, price)
    assert limits.admits()
    assert limits.admits()
    limits.spent(sample(tokens=None))
    assert not limits.admits()
    assert limits.reached == (
        "--budget-usd cannot be kept, since answers do not tell what they cost: give the "
        "scenario a model that prices.yaml knows, and an app that tells its tokens"
    )
    # What was reached first stays the reason.
    limits.spent(sample())
    assert limits.reached.startswith("--budget-usd cannot be kept")


def test_a_request_that_asks_no_llm_costs_nothing_and_ends_nothing() -> None:
    limits = Limits(None, 0.01, price)
    for _ in range(5):
        assert limits.admits()
        limits.spent(sample(tokens=None, traced=False))
    assert limits.spent_usd == 0
    assert limits.reached == ""


def test_without_a_budget_no_answer_has_to_tell_its_tokens() -> None:
    limits = Limits(2, None, price)
    assert limits.admits()
    limits.spent(sample(tokens=None))
    assert limits.admits()
    assert limits.reached == ""


def test_no_money_is_no_request() -> None:
    limits = Limits(None, 0.0, price)
    assert not limits.admits()
    assert limits.reached == "--budget-usd 0 was reached"


def test_both_limits_hold_and_the_first_one_is_told() -> None:
    limits = Limits(3, 0.12, price)
    sent = 0
    while limits.admits():
        limits.spent(sample())
        sent += 1
    assert sent == 2
    assert limits.reached == "--budget-usd 0.12 was reached"


@unhurried
@given(st.integers(0, 50), st.integers(1, 12))
def test_processes_that_share_a_limit_send_exactly_as_many_together(most: int, count: int) -> None:
    sent = 0
    for index in range(count):
        limits = Limits(share(most, index, count), None, price, slots=count)
        while limits.admits():
            sent += 1
    assert sent == most


def test_more_processes_than_requests_leave_some_with_none_to_send() -> None:
    assert [share(2, index, 4) for index in range(4)] == [1, 1, 0, 0]
    idle = Limits(0, 0.25, price, slots=4)
    assert not idle.admits()
    assert idle.reached == "the share of --max-requests of one in 4 processes was reached: 0"
