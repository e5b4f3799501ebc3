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
    assert tables.costs(document).loc["warm_cache"].to_dict() == {
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
    assert tables.curve(document, "warm_cache").empty
