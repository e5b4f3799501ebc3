"""A small document of verdicts, written by hand: one gate missed, one witness without data."""

from __future__ import annotations

from typing import Any

import pytest

HALF_SECOND_BUCKETS = {"low": 0.5, "high": 1.0}


def objective(name: str, promise: str, kind: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "sentence": f"{name} is promised.",
        "scenario": "warm_cache",
        "indicator": {
            "name": name, "kind": kind, "asks": {}, "quantile": None, "bound": None, "unit": "",
        },
        "target": 0.8,
        "promise": promise,
        "at_least": True,
        "confidence": 0.95,
        "min_events": 10,
        "gate": False,
        **changes,
    }  # fmt: skip


def measurement(witness: str, low: float | None, high: float | None = None, **changes: Any) -> Any:
    value = None if low is None else {"low": low, "high": low if high is None else high}
    return {
        "witness": witness,
        "value": value,
        "events": 400,
        "asked": f"what {witness} knows",
        "quantile": None,
        "note": "",
        **changes,
    }


def agreement(about: str, one: str, other: str, finding: str = "agree", **changes: Any) -> Any:
    return {
        "window": "warm_cache",
        "about": about,
        "witnesses": [one, other],
        "finding": finding,
        "reason": "both count 200",
        "values": [200, 200],
        "allowance": 0.0,
        "bounds": [],
        **changes,
    }


def account(witness: str, **changes: Any) -> dict[str, Any]:
    return {
        "window": "warm_cache", "witness": witness, "requests": 200, "unanswered": 0, "unsent": 0,
        "untraced": 0,
        "llm_calls": 400, "tool_calls": 400, "input_tokens": 200000, "output_tokens": 10000,
        "cost_usd": None, "null_probe_p99": None, "problem": "", **changes,
    }  # fmt: skip


def quantile(witness: str, time: str, q: float, low: float, high: float, **changes: Any) -> Any:
    return {
        "window": "warm_cache",
        "witness": witness,
        "time": time,
        "quantile": q,
        "events": 200,
        "value": {"low": low, "high": high},
        "confidence": [low, None],
        **changes,
    }


def verdict(
    status: str, reason: str, promised: dict[str, Any], *measured: Any, agreements: Any = ()
) -> dict[str, Any]:
    return {
        "objective": promised,
        "status": status,
        "reason": reason,
        "measurements": list(measured),
        "agreements": list(agreements),
    }


def small_document() -> dict[str, Any]:
    latency = objective("chat_p95", "p95 <= 5s", "latency", target=0.95, gate=True)
    latency["indicator"].update(quantile=0.95, bound=5.0, unit="s")
    cost = objective("cost", "<= 0.002", "amount", target=0.002, at_least=False)
    cost["indicator"]["unit"] = "USD"
    bound = {
        "bound": 0.5, "client_low": 150, "client_high": 151,
        "server": 154, "client_with_overhead": 199, "holds": True,
    }  # fmt: skip
    last = {**bound, "bound": "inf", "client_low": 200, "client_high": 200, "server": 200}
    time = agreement(
        "request time", "client", "metrics",
        reason="at all 2 bucket bounds", values=[0.4495, 0.4455], allowance=0.05,
        bounds=[bound, last],
    )  # fmt: skip
    requests = agreement("requests", "client", "metrics")
    return {
        "version": 1,
        "status": "missed",
        "exit_code": 1,
        "sentence": "Missed: the gate hit_rate was not kept. metrics: 10 % of 400.",
        "missing": [],
        "run": {
            "id": "20260921-100000-cafe",
            "started": 1789999980.0,
            "target": "http://127.0.0.1:8000",
            "command": "harness run warm_cache",
            "parts": [
                {"name": "LLM", "real": False, "description": "simulated"},
                {"name": "app", "real": True, "description": "the target"},
            ],
            "versions": {"harness": "0.1.0"},
            "machine": {"cpus": "2"},
            "expected_windows": ["warm_cache"],
            "ended": 1790000060.0,
            "interrupted": False,
            "notes": ["a note on the run"],
        },
        "promises": {"slo": "slo.yaml (sha256 aa)", "prices": "prices.yaml (sha256 bb)"},
        "windows": [
            {
                "name": "warm_cache", "scenarios": ["warm_cache"],
                "start": 1790000000.0, "end": 1790000040.0, "seconds": 40.0,
                "arrivals": "Poisson, 5 per second", "open_loop": True, "processes": 1,
                "planned": 200, "begun": 200, "requests": 200, "warmup_requests": 10,
                "shed": 0, "not_sent": 0, "may_be_lost": 0, "stopped_by": "", "notices": [],
                "spent_usd": None, "budget_usd": None,
                "generator": {"processes": [], "piece": 1.0, "moments": []},
                "achieved_rate": 5.0, "offered_rate": 5.0,
                "lateness_p99": 0.001, "cpu_share": 0.2, "notes": [],
                "failures": [],
            }
        ],
        "verdicts": [
            verdict(
                "met", "client: 100 % of 200", latency,
                measurement(
                    "client", 1.0, events=200, quantile={"low": 0.539648, "high": 0.540159}
                ),
                measurement("metrics", 1.0, events=200, quantile=HALF_SECOND_BUCKETS),
                agreements=[requests, time],
            ),
            verdict("met", "metrics: 0 of 10", objective("blocks", "<= 0", "count", target=0),
                    measurement("metrics", 0)),
            verdict(
                "inconclusive", "no data from langfuse: it is down", cost,
                measurement("langfuse", None, events=0, note="it is down"),
            ),
            verdict(
                "missed", "metrics: 10 % of 400",
                objective("hit_rate", ">= 80%", "ratio", gate=True),
                measurement("metrics", 0.1), agreements=[requests],
            ),
        ],
        "agreements": [requests, time],
        "accounts": [
            account("client", null_probe_p99=0.004),
            account("metrics"),
            account(
                "langfuse", requests=None, llm_calls=None, tool_calls=None, input_tokens=None,
                output_tokens=None, problem="it is down", recomputed_usd=None,
            ),
        ],
        "quantiles": [
            quantile("client", "response_time", 0.5, 0.449792, 0.450047),
            quantile("client", "response_time", 0.99, 0.55, "inf"),  # type: ignore[arg-type]
            quantile("metrics", "request time", 0.5, 0.35, 0.5),
            quantile("metrics", "request time", 0.99, 0.5, 1.0),
        ],
        "curve": [
            quantile("client", "response_time", 0.5, 0.449792, 0.45),
            quantile("client", "response_time", 0.9, 0.55, 0.56),
            quantile("client", "service_time", 0.5, 0.44, 0.44),
            quantile("metrics", "request time", 0.5, 0.35, 0.5),
            quantile("metrics", "request time", 0.9, 0.5, 1.0),
        ],
        "benchmarks": [],
        "unmeasured": [],
        "traces": [],
    }  # fmt: skip


@pytest.fixture
def document() -> dict[str, Any]:
    """The small document: the test may change it as it likes."""
    return small_document()


@pytest.fixture
def measured() -> dict[str, Any]:
    """The small document with one figure measured before the run, and one that was not."""
    document = small_document()
    added = objective(
        "tracing_p95_added", "<= 5%", "amount", target=0.05, at_least=False, scenario="all"
    )
    ask = {"what": "ai_p95_added", "parts": {}, "benchmark": "observability"}
    added["indicator"].update(unit="%", asks={"benchmark": ask})
    note = "measured before this run, at 2026-11-22T07:00:00Z"
    document["verdicts"].append(
        verdict(
            "met", "benchmark: -1 % to 3 %, at most 5 % allowed", added,
            measurement("benchmark", -0.01, 0.03, asked="ai_p95_added of it", note=note),
        )
    )  # fmt: skip
    document["benchmarks"] = [
        {
            "name": "observability",
            "measured_at": "2026-11-22T07:00:00Z",
            "machine": {"cpus": "8"},
            "versions": {"harness": "0.1.0"},
            "differences": ["cpus was 8 when it was measured and is 2 in this run"],
            "figures": [
                {"objective": "tracing_p95_added", "figure": "ai_p95_added", "value": 0.012,
                 "low": -0.01, "high": 0.03, "count": 400, "unit": "ratio"}
            ],
        }
    ]  # fmt: skip
    document["unmeasured"] = ["Not measured, and so not judged: middleware_cpu."]
    return document


@pytest.fixture
def disputed() -> dict[str, Any]:
    """The small document with Langfuse having lost traces, and a scrape that failed."""
    document = small_document()
    for about, reason in (("requests", "client counts 20 more"), ("LLM calls", "40 more")):
        document["agreements"].append(
            agreement(about, "client", "langfuse", "contradiction", reason=reason)
        )
    document["missing"] = ["the metrics witness is missing in cold_cache: answered 503"]
    return document
