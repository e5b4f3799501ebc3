"""What the traces say: counted once, priced anew."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from harness.evidence.langfuse import LangfuseEvidence, once, tokens
from harness.model import Account, Ask, Indicator, Interval, Kind, Window
from harness.prices import ModelPrice, PriceBook
from harness.runs import Collection, RunDirectory

WARM = Window("warm_cache", ("warm_cache",), 1.0, 2.0)
PRICES = PriceBook((ModelPrice("mini", "^mini$", {"input": 1e-6, "output": 4e-6}),))

ROOT = {"id": "r", "traceId": "1", "type": "AGENT", "isRootObservation": True, "latency": 0.5}
LLM = {
    "id": "g", "traceId": "1", "type": "GENERATION", "model": "mini", "totalCost": 0.00014,
    "usageDetails": {"input": 100, "output": 10, "total": 110},
}  # fmt: skip
TOOL = {"id": "t", "traceId": "1", "type": "TOOL"}
Row = dict[str, Any]
Read = Callable[..., LangfuseEvidence]


@pytest.fixture
def read(known_run: Callable[..., RunDirectory]) -> Read:
    def of(*rows: Row) -> LangfuseEvidence:
        run = known_run()
        run.write_observations("warm_cache", rows, Collection(True, 2, 1.0))
        return LangfuseEvidence(run, PRICES)

    return of


def asked(what: str, kind: Kind, q: float = 0.5, bound: float = 1.0) -> Indicator:
    return Indicator("it", kind, {"langfuse": Ask(what)}, quantile=q, bound=bound)


def trace(number: int, latency: float | None = 0.5, **changes: Any) -> Row:
    return {**ROOT, "traceId": str(number), "latency": latency, **changes}


def test_counts_tokens_and_cost(read: Read):
    reasoned = {"input": 7, "input_cached_tokens": 3, "output": 2, "output_reasoning_tokens": 1}

    account = read(ROOT, LLM, {**LLM, "id": "g2", "usageDetails": reasoned}, TOOL).account(WARM)

    assert account == Account(
        "langfuse",
        requests=1,
        llm_calls=2,
        tool_calls=1,
        input_tokens=110,
        output_tokens=13,
        cost_usd=0.00028,
        traces=frozenset({"1"}),
    )


def test_an_observation_shown_twice_counts_once_as_it_was_last(read: Read):
    newer = {**LLM, "totalCost": 0.5}

    assert once([LLM, ROOT, newer]) == [newer, ROOT]
    account = read(ROOT, LLM, newer, ROOT).account(WARM)
    assert account is not None
    assert (account.requests, account.llm_calls, account.cost_usd) == (1, 1, 0.5)


def test_the_same_id_in_another_trace_is_another_observation():
    other = {**LLM, "traceId": "2"}

    assert once([LLM, other]) == [LLM, other]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, (0, 0)),
        ({}, (0, 0)),
        ({"input": 5, "input_cached_tokens": 2, "output": 3, "total": 10}, (7, 3)),
    ],
)
def test_cached_and_reasoning_tokens_are_tokens_too(
    usage: dict[str, int] | None, expected: tuple[int, int]
):
    row = {"usageDetails": usage}

    assert (tokens(row, "input"), tokens(row, "output")) == expected


@pytest.mark.parametrize(
    ("what", "rows", "value", "events"),
    [
        ("generations_ok", [LLM, {**LLM, "id": "h", "level": "ERROR"}], 0.5, 2),
        ("tools_ok", [TOOL, LLM], 1.0, 1),
        ("traces_ok", [trace(1), trace(2), trace(3, level="ERROR"), trace(4)], 0.75, 4),
    ],
)
def test_shares_of_what_went_well(
    read: Read, what: str, rows: list[Row], value: float, events: int
):
    measured = read(*rows).measure(asked(what, Kind.RATIO), (WARM,))

    assert (measured.value, measured.events) == (Interval.exactly(value), events)
    assert measured.asked == f"{what} of warm_cache"


def test_cost_per_request(read: Read):
    measured = read(trace(1), trace(2), LLM).measure(
        asked("usd_per_request", Kind.AMOUNT), (WARM,)
    )

    assert (measured.value, measured.events) == (Interval.exactly(0.00007), 2)


@pytest.mark.parametrize(
    ("latencies", "bound", "value", "located"),
    [
        pytest.param([0.5, 2.0], 1.0, (0.5, 0.5), (0.499, 0.501), id="one of two"),
        pytest.param([1.0, 2.0], 1.0, (0.0, 0.5), (0.999, 1.001),
                     id="to the millisecond at the bound"),
        pytest.param([None, 2.0], 1.0, (0.5, 0.5), (0.0, 0.001), id="none: below a millisecond"),
    ],
)  # fmt: skip
def test_latencies_are_known_to_the_millisecond(
    read: Read,
    latencies: list[float | None],
    bound: float,
    value: tuple[float, float],
    located: tuple[float, float],
):
    rows = [trace(i, seconds) for i, seconds in enumerate(latencies)]

    measured = read(*rows).measure(asked("trace_latency", Kind.LATENCY, bound=bound), (WARM,))

    assert (measured.value, measured.quantile) == (Interval(*value), Interval(*located))


def test_failed_traces_rank_above_every_success(read: Read):
    evidence = read(trace(1, 0.1, level="ERROR"), trace(2, 0.5))

    measured = evidence.measure(asked("trace_latency", Kind.LATENCY, q=0.95), (WARM,))

    assert measured.value == Interval.exactly(0.5)
    assert measured.quantile == Interval(math.inf, math.inf)


@pytest.mark.parametrize(
    ("indicator", "note"),
    [
        (asked("generations_ok", Kind.RATIO), "it holds no such observation"),
        (asked("usd_per_request", Kind.AMOUNT), "it holds no trace"),
        (asked("trace_latency", Kind.LATENCY), "it holds no trace"),
    ],
)
def test_no_observation_is_no_data(read: Read, indicator: Indicator, note: str):
    measured = read(TOOL).measure(indicator, (WARM,))

    assert (measured.value, measured.events, measured.note) == (None, 0, note)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([ROOT, LLM, TOOL], (100e-6 + 40e-6, ""), id="usage times price"),
        pytest.param([ROOT], (None, "it holds no LLM call"), id="no LLM call has no cost"),
        pytest.param([{**LLM, "model": "maxi"}], (None, "no price for model 'maxi'"),
                     id="a model without price"),
        pytest.param([{**LLM, "usageDetails": {"audio": 1}}],
                     (None, "no price for audio of model 'mini'"), id="tokens without price"),
        pytest.param([{**LLM, "usageDetails": {}}], (None, "generation g carries no usage"),
                     id="no usage"),
    ],
)  # fmt: skip
def test_cost_is_recomputed(read: Read, rows: list[Row], expected: tuple[float | None, str]):
    usd, problem = read(*rows).recomputed_cost(WARM)

    assert (usd, problem) == (pytest.approx(expected[0]), expected[1])


@pytest.mark.parametrize(
    ("collection", "problem"),
    [
        (Collection(False, 0, 1.0, problem="Langfuse answered 500"), "Langfuse answered 500"),
        (None, "its observations were never read"),
    ],
)
def test_a_silent_witness_says_why(
    known_run: Callable[..., RunDirectory], collection: Collection | None, problem: str
):
    run = known_run()
    if collection:
        run.write_observations("warm_cache", [], collection)
    else:
        (run.path / "windows/warm_cache/langfuse.json").unlink()
    evidence = LangfuseEvidence(run, PRICES)

    measured = evidence.measure(asked("tools_ok", Kind.RATIO), (WARM,))

    assert (measured.value, measured.note) == (None, problem)
    assert evidence.account(WARM) == Account("langfuse", problem=problem)
    assert evidence.recomputed_cost(WARM) == (None, problem)


def test_without_a_price_book_no_cost_is_recomputed(known_run: Callable[..., RunDirectory]):
    run = known_run()
    run.write_observations("warm_cache", [ROOT, LLM], Collection(True, 2, 1.0))
    evidence = LangfuseEvidence(run, None)

    assert evidence.recomputed_cost(WARM) == (None, "no prices.yaml was given")
    account = evidence.account(WARM)
    assert account is not None
    assert account.cost_usd == 0.00014, "what Langfuse itself says stays"


def test_a_window_that_was_never_run(read: Read):
    cold = Window("cold", ("cold",), 1.0, 2.0)

    evidence = read(ROOT)

    assert evidence.account(cold) is None
    assert evidence.recomputed_cost(cold) == (None, "no observations")


def test_a_latency_needs_a_quantile_and_a_bound(read: Read):
    indicator = Indicator("p95", Kind.LATENCY, {"langfuse": Ask("trace_latency")})

    with pytest.raises(ValueError, match="p95: a latency needs a quantile and a bound"):
        read(ROOT).measure(indicator, (WARM,))
