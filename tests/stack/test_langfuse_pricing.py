"""Usage becomes counts, counts become dollars; every row carries its arithmetic."""

from __future__ import annotations

import re

import pytest

from harness.stack.langfuse.pricing import (
    Charge,
    Comparison,
    Condition,
    Model,
    Tier,
    charge,
    normalise_usage,
    sum_of_kind,
)

STANDARD = Tier(
    "t0",
    "Standard",
    {
        "input": 1e-6,
        "input_cached_tokens": 1e-7,
        "output": 4e-6,
        "output_reasoning_tokens": 4e-6,
    },
)
LONG = Tier(
    "t1",
    "Long",
    {"input": 2e-6, "output": 8e-6},
    is_default=False,
    priority=1,
    conditions=(Condition(re.compile("^input"), Comparison.GT, 200_000),),
)
MODEL = Model("m", "golden", re.compile("golden"), (STANDARD, LONG))


@pytest.mark.parametrize(
    ("sent", "counts"),
    [
        pytest.param(
            {
                "prompt_tokens": 120,
                "completion_tokens": 60,
                "total_tokens": 180,
                "prompt_tokens_details": {"cached_tokens": 20},
                "completion_tokens_details": {"reasoning_tokens": 10},
            },
            {
                "input": 100,
                "input_cached_tokens": 20,
                "output": 50,
                "output_reasoning_tokens": 10,
                "total": 180,
            },
            id="chat completions: details are taken out, 120 - 20 and 60 - 10",
        ),
        pytest.param(
            {
                "input_tokens": 120,
                "output_tokens": 60,
                "total_tokens": 180,
                "input_tokens_details": {"cached_tokens": 20},
            },
            {"input": 100, "input_cached_tokens": 20, "output": 60, "total": 180},
            id="responses: only one side has details",
        ),
        pytest.param(
            {
                "prompt_tokens": 5,
                "completion_tokens": 1,
                "total_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": None},
            },
            {"input": 0, "input_cached_tokens": 9, "output": 1, "total": 6},
            id="more details than tokens: 5 - 9 is 0, a null detail is none",
        ),
        pytest.param(
            {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "extra": 4},
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "total_tokens": 3,
                "extra": 4,
                "total": 10,
            },
            id="one unknown key and it is no OpenAI object: total 1 + 2 + 3 + 4",
        ),
        pytest.param(
            {"prompt_tokens": 1, "completion_tokens": 2},
            {"prompt_tokens": 1, "completion_tokens": 2, "total": 3},
            id="without total_tokens it is no OpenAI object: total 1 + 2",
        ),
        pytest.param(
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "total_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": -1},
            },
            {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "total": 6},
            id="a negative detail and it is no OpenAI object; the details are dropped",
        ),
        pytest.param(
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "total_tokens": 3,
                "prompt_tokens_details": "none",
            },
            {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "total": 6},
            id="details that are text and it is no OpenAI object",
        ),
        pytest.param(
            {"input": 1, "output": 2, "total": 99},
            {"input": 1, "output": 2, "total": 99},
            id="a given total is believed",
        ),
        pytest.param(
            {"input": 1.5, "output": 2.0, "minus": -1, "yes": True, "text": "3", "deep": {"a": 1}},
            {"output": 2, "total": 2},
            id="only whole numbers of at least 0 are kept",
        ),
        pytest.param({"input": -1}, {}, id="nothing left, so no total either"),
        pytest.param({}, {}, id="no usage at all"),
    ],
)
def test_usage(sent, counts):
    assert normalise_usage(sent) == counts


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        pytest.param(
            {"input": 100, "input_cached_tokens": 20, "output": 50, "output_reasoning_tokens": 10},
            {
                "input": 0.0001,
                "input_cached_tokens": 0.000002,
                "output": 0.0002,
                "output_reasoning_tokens": 0.00004,
                "total": 0.000342,
            },
            id="100 x 1 + 20 x 0.1 + 50 x 4 + 10 x 4 = 342 millionths",
        ),
        pytest.param(
            {"input": 1, "weird": 7},
            {"input": 0.000001, "total": 0.000001},
            id="a usage key without a price is free",
        ),
        pytest.param({"total": 99}, {}, id="a total is not priced when the model prices none"),
        pytest.param(
            {"input": 200_001, "output": 10},
            {"input": 0.400002, "output": 0.00008, "total": 0.400082},
            id="beyond 200 000 the long tier: 200 001 x 2 + 10 x 8",
        ),
        pytest.param(
            {"input": 200_000},
            {"input": 0.2, "total": 0.2},
            id="exactly 200 000 is not beyond: 200 000 x 1",
        ),
        pytest.param(
            {"input": 0, "output": 0},
            {"input": 0, "output": 0, "total": 0},
            id="no tokens cost nothing, which is known",
        ),
        pytest.param(
            {"input": 150_000, "input_cached_tokens": 60_000},
            {"input": 0.3, "total": 0.3},
            id="the condition sums what matches, 210 000; the long tier gives cached tokens free",
        ),
    ],
)
def test_cost_by_usage(usage, cost):
    assert charge(MODEL, usage, {}).cost == cost


@pytest.mark.parametrize(
    ("given", "cost", "total"),
    [
        pytest.param({"total": 0.5}, {"total": 0.5}, 0.5, id="a total alone"),
        pytest.param(
            {"input": 0.1, "output": 0.2, "total": 0.35},
            {"input": 0.1, "output": 0.2, "total": 0.35},
            0.35,
            id="a given total beats the sum of its parts",
        ),
        pytest.param(
            {"input": 0.1, "output": 0.2},
            {"input": 0.1, "output": 0.2, "total": 0.3},
            0.3,
            id="0.1 + 0.2, to twelve decimals",
        ),
        pytest.param(
            {"input": 0.1, "input_cached_tokens": 0.2},
            {"input": 0.1, "input_cached_tokens": 0.2},
            None,
            id="with any other key the total stays unknown",
        ),
    ],
)
def test_a_cost_that_the_application_gives_is_never_computed(given, cost, total):
    charged = charge(MODEL, {"input": 1_000_000}, given)

    assert (charged.cost, charged.total_cost, charged.tier) == (cost, total, LONG)


def test_a_price_for_the_total_takes_the_place_of_the_sum():
    model = Model("m", "n", re.compile("n"), (Tier("t", "Standard", {"total": 2e-6}),))

    assert charge(model, {"input": 3, "output": 4}, {}).cost == {"total": 0.000014}


def test_an_unknown_model_is_charged_nothing_but_its_usage_is_kept():
    assert charge(None, {"input": 3}, {}) == Charge({"input": 3, "total": 3})


@pytest.mark.parametrize(
    ("comparison", "held"),
    [
        pytest.param(Comparison.GT, [False, False, True], id="greater than"),
        pytest.param(Comparison.GTE, [False, True, True], id="greater or equal"),
        pytest.param(Comparison.LT, [True, False, False], id="less than"),
        pytest.param(Comparison.LTE, [True, True, False], id="less or equal"),
        pytest.param(Comparison.EQ, [False, True, False], id="equal"),
        pytest.param(Comparison.NEQ, [True, False, True], id="not equal"),
    ],
)
def test_a_condition_below_at_and_above_its_value(comparison, held):
    condition = Condition(re.compile("input"), comparison, 10)

    assert [condition.holds({"input": n, "output": 99}) for n in (9, 10, 11)] == held


def test_the_tier_of_lowest_priority_number_wins_and_all_its_conditions_must_hold():
    both = Tier(
        "t2",
        "Both",
        {"input": 1.0},
        is_default=False,
        priority=1,
        conditions=(
            Condition(re.compile("input"), Comparison.GT, 10),
            Condition(re.compile("output"), Comparison.GT, 10),
        ),
    )
    either = Tier(
        "t3",
        "Either",
        {"input": 1.0},
        is_default=False,
        priority=2,
        conditions=(Condition(re.compile("input"), Comparison.GT, 10),),
    )
    model = Model("m", "n", re.compile("n"), (either, STANDARD, both))

    chosen = [
        model.tier_for(usage).name
        for usage in ({"input": 11, "output": 11}, {"input": 11}, {"input": 10, "output": 11})
    ]

    assert chosen == ["Both", "Either", "Standard"]


def test_cached_input_counts_as_input():
    usage = {"input": 100, "input_cached_tokens": 20, "output": 50, "total": 170}

    assert [sum_of_kind(usage, kind) for kind in ("input", "output", "image")] == [120, 50, 0]
