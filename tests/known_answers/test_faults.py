"""`harness benchmark --fault`: six stacks that are broken in a known way, and what is said."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

# Whether its promises are met is asserted: a neighbour on the machine would be part of the answer.
pytestmark = [pytest.mark.whole, pytest.mark.alone]

# Three at a time: each is a stack of its own, so none may disturb another.
TOGETHER = (
    ("slow-llm", "langfuse-down", "metrics-lie"),
    ("no-cache", "drop-spans", "hidden-queue"),
)


@pytest.fixture(scope="module")
def judged(workspaces: Any) -> Mapping[str, tuple[Any, dict[str, Any], Path]]:
    """Every fault's end: what the command said, its verdicts, its run directory."""
    found = {}
    for group in TOGETHER:
        started = []
        for fault in group:
            workspace = workspaces(fault)
            arguments = ("benchmark", "warm_cache", "--duration", "12s", "--fault", fault)
            started.append((fault, workspace, workspace.start(*arguments)))
        for fault, workspace, process in started:
            done = workspace.finish(process)
            (run,) = workspace.runs()
            found[fault] = (done, json.loads((run / "verdicts.json").read_text()), run)
    return found


def verdict(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [v for v in document["verdicts"] if v["objective"]["name"] == name]
    return found


def findings(document: dict[str, Any], about: str) -> dict[tuple[str, ...], str]:
    return {
        tuple(a["witnesses"]): a["finding"] for a in document["agreements"] if a["about"] == about
    }


def test_a_slow_llm_misses_the_gate_on_p95(judged: Any) -> None:
    done, document, _ = judged["slow-llm"]
    assert done.code == 1, done.words
    assert verdict(document, "chat_p95")["status"] == "missed"
    assert verdict(document, "cache_hit_rate")["status"] == "met"
    assert document["sentence"].startswith("Missed: ")
    assert "chat_p95" in document["sentence"]


def test_a_cache_that_holds_nothing_misses_the_gate_on_the_hit_rate(judged: Any) -> None:
    done, document, _ = judged["no-cache"]
    assert done.code == 1, done.words
    missed = verdict(document, "cache_hit_rate")
    assert missed["status"] == "missed"
    assert [m["value"] for m in missed["measurements"]] == [{"low": 0.0, "high": 0.0}]
    assert verdict(document, "chat_p95")["status"] == "met"


def test_a_langfuse_that_died_is_named_and_all_else_is_written(judged: Any) -> None:
    done, document, run = judged["langfuse-down"]
    assert done.code == 3, done.words
    assert document["sentence"].startswith(
        "Inconclusive: the langfuse witness is missing in warm_cache: Langfuse at http://127.0.0.1"
    )
    assert verdict(document, "chat_p95")["status"] == "met"
    assert verdict(document, "cost_per_chat")["status"] == "inconclusive"
    counts = {a["witness"]: a["requests"] for a in document["accounts"]}
    assert counts["client"] == counts["metrics"] > 50
    assert counts["langfuse"] is None
    for name in ("report.html", "junit.xml", "summary.md"):
        assert (run / name).stat().st_size > 0


def test_lost_spans_contradict_the_counts(judged: Any) -> None:
    done, document, _ = judged["drop-spans"]
    assert done.code == 3, done.words
    assert "contradict each other on" in document["sentence"]
    assert findings(document, "requests")[("client", "metrics")] == "agree"
    lost = [
        about
        for about in ("requests", "LLM calls", "tool calls")
        if findings(document, about).get(("metrics", "langfuse")) == "contradiction"
    ]
    assert lost, document["agreements"]


def test_a_server_that_claims_too_much_time_is_contradicted(judged: Any) -> None:
    done, document, _ = judged["metrics-lie"]
    assert done.code == 3, done.words
    assert findings(document, "request time") == {("client", "metrics"): "contradiction"}
    assert findings(document, "requests")[("client", "metrics")] == "agree"
    assert "more" in document["sentence"]
    assert "than its clients waited" in document["sentence"] + str(document["agreements"])


def test_a_hidden_queue_is_time_that_nobody_accounts_for(judged: Any) -> None:
    done, document, _ = judged["hidden-queue"]
    assert done.code in {0, 3}, done.words
    assert findings(document, "request time") == {("client", "metrics"): "unaccounted time"}
    (time,) = [a for a in document["agreements"] if a["about"] == "request time"]
    client, server = time["values"]
    # Every request waits 0.3 s before the server's clock starts.
    assert client - server >= 0.3
    assert "s more per request than the server accounts for" in done.flat


@pytest.mark.parametrize("fault", [f for group in TOGETHER for f in group])
def test_the_report_says_that_a_fault_was_built_in(judged: Any, fault: str) -> None:
    done, document, run = judged[fault]
    (part,) = [p for p in document["run"]["parts"] if p["name"] == "fault"]
    assert part["real"] is False
    assert part["description"] in html.unescape((run / "report.html").read_text())
    assert f"fault built in: {part['description'].removeprefix('built in: ')}" in done.flat
