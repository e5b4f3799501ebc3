"""`harness benchmark` without a fault: all witnesses of all scenarios tell the same story."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

# Whether its promises are met is asserted: a neighbour on the machine would be part of the answer.
pytestmark = [pytest.mark.whole, pytest.mark.alone]

SECRET = "planted-5ecret-that-nobody-may-write"
SCENARIOS = ("cold_cache", "max_iterations", "warm_cache")
CALLERS_OWN = {
    "OPENAI_API_KEY": SECRET,
    "AZURE_OPENAI_ENDPOINT": f"http://127.0.0.1:9/{SECRET}",
    "AZURE_OPENAI_API_KEY": SECRET,
    "LANGFUSE_PUBLIC_KEY": SECRET,
    "LANGFUSE_SECRET_KEY": SECRET,
    "LANGFUSE_BASE_URL": "http://127.0.0.1:9",
    "TARGET_TOKEN": SECRET,
    # Neither may these change what is sent, or where to.
    "HTTP_PROXY": "http://127.0.0.1:9",
    "LOCUST_RUN_TIME": "1s",
    "SIMLLM_FAULT": "429:1.0",
    "CACHE_SIZE_LIMIT": "0",
}


@pytest.fixture(scope="module")
def benchmark(workspaces: Any) -> tuple[Any, dict[str, Any], Path]:
    """One benchmark, with a caller's environment full of things that are none of its business."""
    workspace = workspaces("benchmark")
    done = workspace.run("benchmark", "--duration", "12s", **CALLERS_OWN)
    (run,) = workspace.runs()
    return done, json.loads((run / "verdicts.json").read_text()), run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_gates_are_kept(benchmark: Any) -> None:
    done, document, _ = benchmark
    assert done.code == 0, done.words
    assert document["status"] == "met"
    assert [w["name"] for w in document["windows"]] == list(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_client_server_and_langfuse_count_the_same(benchmark: Any, scenario: str) -> None:
    _, document, run = benchmark
    accounts = {a["witness"]: a for a in document["accounts"] if a["window"] == scenario}
    for what in ("requests", "llm_calls", "tool_calls", "input_tokens", "output_tokens"):
        counts = {witness: a[what] for witness, a in accounts.items()}
        assert len(counts) == 3
        assert len(set(counts.values())) == 1, (what, counts)
    assert accounts["client"]["requests"] == len(lines(run / f"windows/{scenario}/samples.jsonl"))
    histograms = [
        h for h in lines(run / f"windows/{scenario}/histograms.jsonl")
        if h["time"] == "response_time"
    ]  # fmt: skip
    assert sum(h["count"] for h in histograms) == accounts["client"]["requests"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_agreement_on_time_is_shown_for_every_bucket_bound(
    benchmark: Any, scenario: str
) -> None:
    _, document, _ = benchmark
    (time,) = [
        a
        for a in document["agreements"]
        if (a["window"], a["about"]) == (scenario, "request time")
    ]
    assert time["finding"] != "contradiction", time["reason"]
    assert len(time["bounds"]) > 5
    # Whatever this machine is busy with, no client is done before its server is.
    assert all(b["client_low"] <= b["server"] for b in time["bounds"])


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_sample_has_the_one_trace_that_carries_its_id(benchmark: Any, scenario: str) -> None:
    _, _, run = benchmark
    sent = [s["trace_id"] for s in lines(run / f"windows/{scenario}/samples.jsonl")]
    rows = lines(run / f"windows/{scenario}/langfuse.jsonl")
    kept = [r["traceId"] for r in rows if r["isRootObservation"]]
    assert Counter(kept) == Counter(set(sent))
    assert len(sent) == len(set(sent))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_tokens_are_those_that_the_simulated_llm_spent(benchmark: Any, scenario: str) -> None:
    _, document, run = benchmark
    own = {s["trace_id"] for s in lines(run / f"windows/{scenario}/samples.jsonl")}
    truth = [c for c in lines(run / "logs/llm-truth.jsonl") if c["trace_id"] in own]
    (langfuse,) = [
        a for a in document["accounts"] if (a["window"], a["witness"]) == (scenario, "langfuse")
    ]
    assert (langfuse["llm_calls"], langfuse["input_tokens"], langfuse["output_tokens"]) == (
        len(truth),
        sum(c["prompt_tokens"] for c in truth),
        sum(c["completion_tokens"] for c in truth),
    )
    assert {c["status"] for c in truth} == {200}


def test_every_scenario_did_what_it_is_for(benchmark: Any) -> None:
    _, document, _ = benchmark
    shares = {
        v["objective"]["name"]: m["value"]
        for v in document["verdicts"]
        for m in v["measurements"]
        if m["witness"] == "metrics"
    }
    assert shares["cold_cache_is_cold"]["high"] <= 0.2
    assert shares["cache_hit_rate"]["low"] > 0.8
    assert shares["agent_limit_holds"]["low"] > 0.75


def test_all_parts_but_the_target_are_said_to_stand_in(benchmark: Any) -> None:
    _, document, _ = benchmark
    assert {p["name"]: p["real"] for p in document["run"]["parts"]} == {
        "target": True,
        "LLM": False,
        "Langfuse": False,
        "metrics": True,
    }


def test_no_secret_of_the_caller_is_anywhere_in_the_run(benchmark: Any) -> None:
    done, _, run = benchmark
    files = [p for p in run.rglob("*") if p.is_file()]
    assert len(files) > 20
    assert [p for p in files if SECRET.encode() in p.read_bytes()] == []
    assert SECRET not in done.words


def test_no_log_holds_a_traceback(benchmark: Any) -> None:
    _, _, run = benchmark
    logs = sorted((run / "logs").iterdir())
    assert {p.name for p in logs} >= {"llm.log", "langfuse.log", "target.log", "llm-truth.jsonl"}
    assert [p.name for p in logs if "Traceback" in p.read_text()] == []
