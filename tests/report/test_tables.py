from __future__ import annotations

import math
from typing import Any

import pytest
from scipy.stats import binomtest

from harness.report import tables


def test_objectives_hold_quantiles_values_and_limits(document: dict[str, Any]) -> None:
    frame = tables.objectives(document).set_index(["objective", "witness"])
    latency = frame.loc[("chat_p95", "metrics")]
    assert (latency["low"], latency["high"], latency["good"]) == (0.5, 1.0, 1.0)
    ratio = frame.loc[("hit_rate", "metrics")]
    assert ratio["low"] == ratio["high"] == 0.1
    # One-sided at 95 % are the ends of the two-sided exact interval at 90 %.
    exact = binomtest(40, 400).proportion_ci(0.9)
    assert (ratio["least"], ratio["most"]) == pytest.approx((exact.low, exact.high))


def test_what_nobody_knows_is_not_zero(document: dict[str, Any]) -> None:
    frame = tables.objectives(document).set_index("objective")
    assert frame.loc["cost", ["low", "high", "least", "most", "good"]].isna().all()
    assert tables.costs(document).loc["warm_cache"].isna().all()


def test_quantiles_keep_open_and_infinite_ends(document: dict[str, Any]) -> None:
    row = tables.quantiles(document).iloc[1]
    assert (row["witness"], row["time"], row["quantile"]) == ("client", "response_time", 0.99)
    assert (row["low"], row["high"], row["from"]) == (0.55, math.inf, 0.55)
    assert math.isnan(row["to"])


def test_accounts_are_quantities_by_witnesses(document: dict[str, Any]) -> None:
    frame = tables.accounts(document, "warm_cache")
    assert list(frame.columns) == ["client", "metrics", "langfuse"]
    assert frame.loc["requests"].tolist()[:2] == [200.0, 200.0]
    assert frame.loc["request time"].tolist()[:2] == [0.4495, 0.4455]
    assert frame["langfuse"].isna().all()
    assert "cost" not in frame.index


def test_bounds_of_the_coupling(document: dict[str, Any]) -> None:
    assert tables.bounds(document["agreements"][1]).to_numpy().tolist() == [
        [0.5, 150, 151, 154, 199, True],
        [math.inf, 200, 200, 200, 199, True],
    ]


def test_costs_per_request(document: dict[str, Any]) -> None:
    document["accounts"][2].update(
        requests=200, llm_calls=400, input_tokens=200000, output_tokens=10000,
        cost_usd=0.036, recomputed_usd=0.035,
    )  # fmt: skip
    found = tables.costs(document).loc["warm_cache"].to_dict()
    assert math.isnan(found.pop("usd_per_session")), "no trace names its session"
    assert found == {
        "requests": 200.0,
        "llm_calls": 400.0,
        "input_tokens": 200000.0,
        "output_tokens": 10000.0,
        "cost_usd": 0.036,
        "recomputed_usd": 0.035,
        "tokens_per_request": 1050.0,
        "usd_per_request": pytest.approx(0.00018),
    }


def test_load_joins_the_window_and_the_client(document: dict[str, Any]) -> None:
    row = tables.load(document).loc["warm_cache"]
    assert (row["offered_rate"], row["requests"], row["warmup_requests"]) == (5.0, 200.0, 10.0)
    assert (row["unanswered"], row["null_probe_p99"]) == (0.0, 0.004)


def test_curve_of_client_and_server(document: dict[str, Any]) -> None:
    frame = tables.curve(document, "warm_cache")
    assert frame.loc[0.5].to_dict() == {
        "response": 0.45,
        "service": 0.44,
        "lower": 0.35,
        "upper": 0.5,
    }
    assert math.isnan(frame.loc[0.9, "service"])


def test_a_run_without_windows_has_empty_tables(document: dict[str, Any]) -> None:
    document.update(windows=[], quantiles=[], curve=[], accounts=[], agreements=[])
    assert tables.quantiles(document).empty
    assert tables.costs(document).empty
    assert tables.load(document).empty
    assert tables.agent(document).empty
    assert tables.tools(document).empty
    assert tables.curve(document, "warm_cache").empty


def used(name: str, calls: int, failed: int, seconds: float, told: int, hits: int) -> Any:
    return {
        "name": name, "calls": calls, "failed": failed, "seconds": seconds, "told": told,
        "hits": hits,
    }  # fmt: skip


def trace_of(window: str, *tools: Any, **changes: Any) -> Any:
    return {
        "window": window, "requests": 200, "failed": 10, "sessions": 40, "llm_calls": 500,
        "tools": list(tools), **changes,
    }  # fmt: skip


def test_agent_per_request(document: dict[str, Any]) -> None:
    document["traces"] = [
        trace_of("warm_cache", used("grep", 300, 0, 1.0, 0, 0), used("cat", 100, 0, 1.0, 0, 0)),
        trace_of("cold_cache", requests=0, failed=0, sessions=None, llm_calls=0),
    ]
    frame = tables.agent(document)
    assert frame.loc["warm_cache"].tolist() == [200.0, 0.95, 2.5, 2.0, 40.0]
    assert frame.loc["cold_cache", "requests"] == 0.0
    assert (
        frame.loc["cold_cache", ["succeeded", "llm_calls", "tool_calls", "sessions"]].isna().all()
    )


def test_tools_of_all_scenarios_together(document: dict[str, Any]) -> None:
    document["traces"] = [
        trace_of("a", used("cat", 10, 1, 0.5, 10, 4), used("ls", 5, 0, 0.0, 0, 0)),
        trace_of("b", used("grep", 55, 0, 5.5, 50, 25), used("cat", 30, 3, 1.5, 30, 26)),
    ]
    frame = tables.tools(document)
    assert frame.index.tolist() == ["grep", "cat", "ls"]
    assert frame.loc["cat"].to_dict() == pytest.approx(
        {"calls": 40, "share": 0.4, "succeeded": 0.9, "hits": 0.75, "seconds": 0.05}
    )
    assert frame.loc["grep", "hits"] == 0.5
    assert math.isnan(frame.loc["ls", "hits"])


def test_cost_per_session(document: dict[str, Any]) -> None:
    document["accounts"][2].update(requests=200, cost_usd=0.036)
    document["traces"] = [trace_of("warm_cache")]
    assert tables.costs(document).loc["warm_cache", "usd_per_session"] == pytest.approx(0.0009)
