"""When sending stops: to the request and, as far as it can be known beforehand, to the cent."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.limits import Limits, cost_by
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


def price(of: Sample, model: str = "") -> float | None:
    """Five cents for a token in and a token out."""
    del model
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
    assert (sent, limits.left) == (most, 0)
    assert limits.option == "--max-requests"
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


def test_until_the_first_answer_is_priced_one_request_at_a_time_is_sent() -> None:
    limits = Limits(None, 0.52, price)
    assert limits.admits()
    assert [limits.admits() for _ in range(3)] == [False] * 3
    # They are turned away for now only.
    assert (limits.undecided, limits.reached, limits.option) == (True, "", "")
    assert (limits.sent, limits.left) == (1, None)
    limits.spent(sample())
    assert not limits.undecided
    assert [limits.admits() for _ in range(10)] == [True] * 9 + [False]
    assert (limits.undecided, limits.option) == (False, "--budget-usd")


def test_a_first_answer_that_fails_leaves_the_next_one_to_tell_the_price() -> None:
    limits = Limits(None, 0.52, price)
    for outcome in (Outcome.TIMEOUT, Outcome.REFUSED):
        assert limits.admits()
        assert not limits.admits()
        limits.spent(sample(outcome, tokens=None))
        assert not limits.undecided
    assert limits.admits()
    limits.spent(sample())
    assert limits.spent_usd == pytest.approx(0.10)  # the timeout is paid for, too


def test_requests_that_ask_no_llm_wait_for_no_price() -> None:
    limits = Limits(None, 0.05, price)
    assert limits.admits()
    assert all(limits.admits(paid=False) for _ in range(5))
    limits.spent(sample(tokens=None, traced=False))
    assert not limits.admits()
    limits.spent(sample())
    assert not limits.admits()
    assert limits.reached == "--budget-usd 0.05 was reached"


@unhurried
@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=60),
    st.integers(1, 40),
    st.randoms(use_true_random=False),
)
def test_an_overrun_is_at_most_what_those_under_way_cost_more_than_the_average(
    tokens: list[int], cents: int, chance: random.Random
) -> None:
    limits = Limits(None, cents / 100, price)
    coming, under_way = list(tokens), list[int]()
    allowed = budget = cents / 100
    while coming and not limits.reached:
        if under_way and chance.random() < 0.5:
            limits.spent(sample(tokens=under_way.pop(chance.randrange(len(under_way)))))
        elif limits.admits():
            under_way.append(coming.pop())
            ended = limits.sent - len(under_way)
            mean = limits.spent_usd / ended if ended else budget
            allowed = max(allowed, budget + sum(0.05 * n - mean for n in under_way))
    for left in under_way:
        limits.spent(sample(tokens=left))
    assert limits.spent_usd <= allowed + 1e-9


def test_an_answer_is_priced_as_the_model_it_names_or_else_as_its_scenario_s() -> None:
    book = PriceBook((
        ModelPrice("small", "^small", {"input": 1.0, "output": 1.0}),
        ModelPrice("large", "^large", {"input": 10.0, "output": 10.0}),
    ))  # fmt: skip
    cost = cost_by(book, {"s": "small"})
    assert cost(sample(), "") == 2
    assert cost(sample(), "large-2026") == 20
    assert cost(sample(), "nobody priced it") == 2
    assert cost(sample(tokens=None), "large") is None
    assert cost_by(book, {})(sample(), "nobody priced it") is None


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
        assert limits.admits(paid=False)
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
