from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from harness.cli.terminal import print_verdicts


def verdict(
    status: str, name: str, promise: str, reason: str, *measured: Any, gate: bool = False
) -> dict[str, Any]:
    kind = "latency" if promise.startswith("p") else "ratio"
    return {
        "objective": {
            "name": name,
            "promise": promise,
            "gate": gate,
            "indicator": {"kind": kind, "unit": ""},
        },
        "status": status,
        "reason": reason,
        "measurements": list(measured),
    }


def seen(witness: str, low: float | None, high: float | None = None) -> dict[str, Any]:
    ends = None if low is None else {"low": low, "high": low if high is None else high}
    return {"witness": witness, "value": ends, "quantile": ends}


def agreement(about: str, one: str, other: str, finding: str, reason: str) -> dict[str, Any]:
    return {
        "window": "warm_cache",
        "about": about,
        "witnesses": [one, other],
        "finding": finding,
        "reason": reason,
    }


def account(witness: str, requests: int | None, tokens: int | None, problem: str = "") -> Any:
    return {
        "window": "warm_cache", "witness": witness, "requests": requests, "untraced": 0,
        "llm_calls": None, "tool_calls": None, "input_tokens": tokens, "output_tokens": None, "problem": problem,
    }  # fmt: skip


@pytest.fixture
def document() -> dict[str, Any]:
    down = "no data from langfuse: connection refused at http://127.0.0.1:1/"
    return {
        "status": "missed",
        "sentence": "Missed: the gate cache_hit_rate was not kept. metrics: 10 % of 400.",
        "missing": ["the langfuse witness is missing in cold_cache: connection refused"],
        "unmeasured": [],
        "benchmarks": [],
        "windows": [{"name": "warm_cache", "notices": [], "shed": 0}],
        "verdicts": [
            verdict("met", "tool_success", ">= 95%", "", seen("metrics", 1.0)),
            verdict("inconclusive", "llm_call_success", ">= 99.5%", down,
                    seen("metrics", 1.0), seen("langfuse", None)),
            verdict("inconclusive", "cost", "<= 1%", down, seen("langfuse", None)),
            verdict("met", "chat_p95", "p95 <= 5s", "",
                    seen("client", 0.54), seen("metrics", 0.5, 1.0), gate=True),
            verdict("missed", "cache_hit_rate", ">= 80%",
                    "metrics: 10 % of 400, 95 % sure of at most 12.82 % (80 % promised)",
                    seen("metrics", 0.1), gate=True),
        ],
        "accounts": [
            account("client", 200, 1000), account("metrics", 200, 1000),
            account("langfuse", 180, 900),
        ],
        "agreements": [
            agreement("requests", "client", "metrics", "agree", "both count 200"),
            agreement("requests", "metrics", "langfuse", "contradiction", "20 more"),
            agreement("input tokens", "client", "metrics", "agree", "both count 1000"),
            agreement("input tokens", "metrics", "langfuse", "contradiction", "100 more"),
            agreement("request time", "client", "metrics", "unaccounted time",
                      "clients wait 0.304 s more per request than the server accounts for"),
        ],
    }  # fmt: skip


def printed(document: dict[str, Any], width: int, **settings: Any) -> str:
    file = io.StringIO()
    print_verdicts(document, Console(file=file, width=width, **settings))
    return file.getvalue()


WIDE = """\
Gates
  missed        cache_hit_rate    >= 80%     metrics 10 %
                metrics: 10 % of 400, 95 % sure of at most 12.82 % (80 % promised)
  met           chat_p95          p95 <= 5s  client 540 ms, metrics 500 ms to 1 s

Tracked
  inconclusive  llm_call_success  >= 99.5%   metrics 100 %, langfuse no data
                no data from langfuse: connection refused at http://127.0.0.1:1/
  inconclusive  cost              <= 1%      langfuse no data
                as above
  met           tool_success      >= 95%     metrics 100 %

Agreement (client = metrics = langfuse)
  warm_cache  requests 200 = 200 != 180, input tokens 1,000 = 1,000 != 900, \
request time client >> metrics
              contradiction: metrics and langfuse, requests: 20 more (and 1 more)
              unaccounted time: client and metrics, request time: clients wait 0.304 s more per \
request than the server
              accounts for

missing: the langfuse witness is missing in cold_cache: connection refused
MISSED: the gate cache_hit_rate was not kept. metrics: 10 % of 400.
"""

NARROW = """\
Gates
  missed        cache_hit_rate    >= 80%     metrics 10 %
                metrics: 10 % of 400, 95 % sure of at most 12.82 % (80 %
                promised)
  met           chat_p95          p95 <= 5s  client 540 ms,
                                             metrics 500 ms to 1 s

Tracked
  inconclusive  llm_call_success  >= 99.5%   metrics 100 %, langfuse no data
                no data from langfuse: connection refused at http://127.0.0.1:1/
  inconclusive  cost              <= 1%      langfuse no data
                as above
  met           tool_success      >= 95%     metrics 100 %

Agreement (client = metrics = langfuse)
  warm_cache  requests 200 = 200 != 180, input tokens 1,000 = 1,000 != 900,
              request time client >> metrics
              contradiction: metrics and langfuse, requests: 20 more (and 1
              more)
              unaccounted time: client and metrics, request time: clients wait
              0.304 s more per request than the server accounts for

missing: the langfuse witness is missing in cold_cache: connection refused
MISSED: the gate cache_hit_rate was not kept. metrics: 10 % of 400.
"""

TINY = """\
Gates
  missed        cache_hit_rate    >= 80%
    metrics 10 %
                metrics: 10 % of 400, 95 %
                sure of at most 12.82 %
                (80 % promised)
"""


@pytest.mark.parametrize(
    ("width", "text"),
    [pytest.param(120, WIDE, id="120 columns"), pytest.param(80, NARROW, id="80 columns")],
)
def test_the_whole_output(document: dict[str, Any], width: int, text: str) -> None:
    assert printed(document, width) == text


def test_a_very_narrow_terminal_gets_another_line(document: dict[str, Any]) -> None:
    assert printed(document, 42).startswith(TINY)


def test_plain_ascii_without_blanks_at_line_ends(document: dict[str, Any]) -> None:
    text = printed(document, 80)
    assert text.isascii()
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_a_terminal_gets_colours(document: dict[str, Any]) -> None:
    text = printed(document, 80, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[32mmet         \x1b[0m" in text
    assert "\x1b[1;31mmissed      \x1b[0m" in text
    assert "\x1b[33minconclusive\x1b[0m" in text


def test_what_the_sentence_says_is_not_said_twice(document: dict[str, Any]) -> None:
    missing = document["missing"][0]
    document.update(status="inconclusive", sentence=f"Inconclusive: {missing}.")
    assert printed(document, 120).endswith(f"accounts for\n\nINCONCLUSIVE: {missing}.\n")


def test_a_missing_witness_is_named_among_the_counts(document: dict[str, Any]) -> None:
    document["accounts"][2] = account("langfuse", None, None, "connection refused")
    document["agreements"] = document["agreements"][:1]
    assert "requests 200 = 200 ? -, input tokens 1,000 ? 1,000 ? -, langfuse missing\n" in printed(
        document, 120
    )


def test_less_than_nothing_is_plain_ascii(document: dict[str, Any]) -> None:
    added = verdict("met", "added", "<= 5%", "", seen("benchmark", -0.01, 0.03))
    added["objective"]["indicator"] = {"kind": "amount", "unit": "%"}
    document["verdicts"].append(added)
    assert "benchmark -1 to 3 %\n" in printed(document, 120)


def test_what_was_not_measured_or_elsewhere_is_a_note(document: dict[str, Any]) -> None:
    document["unmeasured"] = ["Not measured, and so not judged: middleware_cpu."]
    document["benchmarks"] = [{"differences": ["cpus was 64 then and is 2 in this run"]}]
    assert (
        "note: Not measured, and so not judged: middleware_cpu.\n"
        "note: cpus was 64 then and is 2 in this run: a benchmark's figures may differ here\n"
        "MISSED: "
    ) in printed(document, 120)


def test_how_the_load_went_is_a_note_beside_the_verdict(document: dict[str, Any]) -> None:
    document["windows"][0]["notices"] = ["the sending was stopped: --max-requests 100 was reached"]
    lines = printed(document, 120).splitlines()
    assert lines[-2:] == [
        "note: warm_cache: the sending was stopped: --max-requests 100 was reached",
        "MISSED: the gate cache_hit_rate was not kept. metrics: 10 % of 400.",
    ]


def test_traces_are_fewer_than_requests_where_some_leave_none(document: dict[str, Any]) -> None:
    document["accounts"] = [
        {**account("client", 200, 1000), "untraced": 20},
        account("metrics", 200, 1000),
        account("langfuse", 180, 1000),
    ]
    assert "requests 200 = 200 != 180 traced, input tokens" in printed(document, 120)


def test_what_was_shed_stands_beside_what_was_counted(document: dict[str, Any]) -> None:
    document["windows"][0]["shed"] = 1200
    text = printed(document, 200)
    assert (
        "input tokens 1,000 = 1,000 != 900, request time client >> metrics, 1,200 shed\n" in text
    )


def test_square_brackets_are_not_markup(document: dict[str, Any]) -> None:
    document["verdicts"][4]["reason"] = "[red]not a colour[/red]"
    assert "                [red]not a colour[/red]\n" in printed(document, 80)


def test_a_run_that_left_nothing(document: dict[str, Any]) -> None:
    document.update(windows=[], verdicts=[], accounts=[], agreements=[], missing=[])
    assert printed(document, 80) == (
        "MISSED: the gate cache_hit_rate was not kept. metrics: 10 % of 400.\n"
    )
