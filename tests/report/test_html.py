from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from harness.report.html import page

NEVER_CLOSED = {"meta", "br", "path", "rect", "circle", "line", "polyline", "polygon"}


class Text(HTMLParser):
    """The words of a page, with what scripts and styles say left out, and its open tags."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in NEVER_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in NEVER_CLOSED:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)


def words(html: str) -> str:
    parser = Text()
    parser.feed(html)
    assert parser.open == []
    return " ".join(" ".join(parser.words).split())


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', html, re.DOTALL)
    assert found is not None
    return words(found.group())


def test_the_verdict_is_on_top(document: dict[str, Any]) -> None:
    assert words(page(document)).startswith(
        "Missed: run 20260921-100000-cafe "
        "Run 20260921-100000-cafe 21 September 2026, 14:13 UTC 1 min 20 s "
        "against http://127.0.0.1:8000 "
        "Missed: the gate hit_rate was not kept. metrics: 10 % of 400. "
        "Exit code 1 "
        "Gates met 1 of 2 1 missed Tracked met 1 of 2 1 inconclusive "
        "Witnesses agree 2 of 2 comparisons Requests 200 in 1 scenario LLM cost — not known "
    )


def test_every_verdict_and_reason_is_told(document: dict[str, Any]) -> None:
    told = section(page(document), "objectives")
    for verdict in document["verdicts"]:
        assert verdict["status"] in told
        assert verdict["objective"]["sentence"] in told
        assert verdict["reason"] in told


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            "missed hit_rate gate hit_rate is promised. ≥ 80 % warm_cache M — "
            "10 % 7.63 to 12.82 % of 400 — = agree 1 of 1 metrics: 10 % of 400 "
            "metrics was asked what metrics knows",
            id="a share with its limits",
        ),
        pytest.param(
            "met chat_p95 gate chat_p95 is promised. p95 ≤ 5 s warm_cache C M "
            "540 ms 100 % ≤ 5 s of 200 500 ms to 1 s 100 % ≤ 5 s of 200 — = agree 2 of 2",
            id="a latency of two witnesses",
        ),
        pytest.param(
            "inconclusive cost cost is promised. ≤ 0.002 USD warm_cache — — — no data — "
            "no data from langfuse: it is down "
            "langfuse was asked what langfuse knows: no data, it is down",
            id="no data is a dash with its reason",
        ),
        pytest.param(
            "met blocks blocks is promised. ≤ 0 warm_cache M — 0 — —",
            id="a count, with nothing to compare",
        ),
    ],
)
def test_objectives(document: dict[str, Any], row: str) -> None:
    assert row in section(page(document), "objectives")


def test_agreement_pair_by_pair_and_bound_by_bound(document: dict[str, Any]) -> None:
    told = section(page(document), "agreement")
    assert "requests 200 200 — client = metrics client and metrics: agree, both count 200" in told
    assert "request time mean 450 ms 446 ms — client = metrics" in told
    assert "langfuse is missing here: it is down" in told
    assert "Client and server at each bucket bound: 2 of 2 hold" in told
    assert "≤ 500 ms 150 to 151 154 199 = yes ≤ ∞ 200 200 199 = yes" in told


def test_times_side_by_side(document: dict[str, Any]) -> None:
    told = section(page(document), "times")
    assert (
        "Time p50 p99 client response time 200 events 450 ms over 450 ms over 550 ms over 550 ms "
        "metrics request time 200 events 350 to 500 ms over 350 ms 500 ms to 1 s over 500 ms"
    ) in told
    assert "90 % 560 ms — 500 ms to 1 s" in told


def test_load_parts_and_how_to_do_it_again(document: dict[str, Any]) -> None:
    html = page(document)
    assert (
        "warm_cache Poisson, 5 per second open loop , 1 process 40 s 5 /s 5 /s 200 0 0 200 0 0 0 10 "
        "1 ms 4 ms"
    ) in section(html, "load")
    assert section(html, "parts") == (
        "What was real stand-in LLM simulated real app the target a note on the run"
    )
    assert section(html, "reproduce") == (
        "Do it again Run it harness run warm_cache "
        "Judge it again harness judge reports/20260921-100000-cafe --slo slo.yaml "
        "Write this page again harness report reports/20260921-100000-cafe "
        "Target http://127.0.0.1:8000 Judged by slo.yaml (sha256 aa) prices.yaml (sha256 bb) "
        "Machine cpus 2 Versions harness 0.1.0"
    )


def test_cost_that_nobody_knows_is_dashes(document: dict[str, Any]) -> None:
    assert section(page(document), "cost").endswith(
        "warm_cache — — — — — — — — — Langfuse is missing in warm_cache: it is down"
    )


def test_cost_of_several_scenarios_is_summed(document: dict[str, Any]) -> None:
    known = {
        "requests": 200, "llm_calls": 400, "input_tokens": 200000, "output_tokens": 10000,
        "cost_usd": 0.036, "recomputed_usd": 0.036, "problem": "",
    }  # fmt: skip
    document["accounts"][2].update(known)
    document["windows"].append({**document["windows"][0], "name": "cold_cache"})
    document["accounts"].append({**document["accounts"][2], "window": "cold_cache"})
    told = section(page(document), "cost")
    assert "cold_cache 200 400 200,000 10,000 1,050 $0.036 $0.036 $0.00018 —" in told
    assert told.endswith("All 400 800 400,000 20,000 $0.072 $0.072")


def test_what_is_missing_or_in_dispute_comes_before_the_gates(disputed: dict[str, Any]) -> None:
    html = page(disputed)
    assert section(html, "problems") == (
        "Missing and in dispute "
        "missing the metrics witness is missing in cold_cache: answered 503 "
        "contradiction client and langfuse in warm_cache , requests: client counts 20 more "
        "and 1 more LLM calls: 40 more"
    )
    assert html.index('id="problems"') < html.index('id="gates"')


def test_nothing_missing_is_not_mentioned(document: dict[str, Any]) -> None:
    assert 'id="problems"' not in page(document)


def test_text_of_others_never_becomes_markup(document: dict[str, Any]) -> None:
    evil = "<script>alert('\"&')</script>"
    document["sentence"] = f"Missed: {evil}. {evil}"
    document["missing"] = [evil]
    document["run"].update(target=evil, command=evil, notes=[evil], machine={evil: evil})
    document["run"]["parts"][0].update(name=evil, description=evil)
    document["windows"][0].update(arrivals=evil, notes=[evil])
    for number, verdict in enumerate(document["verdicts"]):
        verdict["reason"] = evil
        verdict["objective"].update(name=f"{evil}{number}", sentence=evil, promise=f"{evil} <= 1")
        for m in verdict["measurements"]:
            m.update(note=evil, asked=evil)
    document["agreements"][0].update(reason=evil, finding="contradiction")
    document["accounts"][2]["problem"] = evil
    html = page(document)
    assert html.count("<script>") == 1
    assert "alert('" not in html
    assert words(html).count(evil) > 20


def test_the_page_needs_nothing_from_anywhere(document: dict[str, Any]) -> None:
    html = page(document)
    assert re.findall(r"(?:src|href|srcset|action)\s*=|url\(|@import|fetch\(", html) == []
    assert "default-src 'none'" in html


def test_a_run_that_left_nothing_still_has_a_page(document: dict[str, Any]) -> None:
    document.update(windows=[], quantiles=[], curve=[], accounts=[], agreements=[], verdicts=[])
    document["run"].update(ended=None, parts=[], notes=[])
    told = words(page(document))
    assert "did not end" in told
    assert "No objective is marked as a gate." in told
    assert "The run does not say." in told


def test_failures_are_listed_with_the_trace_of_one(document: dict[str, Any]) -> None:
    assert 'id="failures"' not in page(document)

    document["windows"][0]["failures"] = [
        {"operation": "chat", "outcome": "http_error", "detail": "HTTP <500>", "count": 10,
         "trace_id": "ab" * 16}
    ]  # fmt: skip

    assert f"warm_cache chat http_error HTTP <500> 10 {'ab' * 16}" in section(
        page(document), "failures"
    )


def test_figures_measured_before_the_run(measured: dict[str, Any]) -> None:
    html = page(measured)
    assert section(html, "benchmarks").endswith(
        "Verdict Objective Figure Promise Estimate Interval Events "
        "met tracing_p95_added ai_p95_added ≤ 5 % 1.2 % \N{MINUS SIGN}1 to 3 % 400 "
        "Benchmark observability , 22 November 2026, 07:00 UTC. Machine: cpus 8. "
        "Versions: harness 0.1.0. "
        "differs cpus was 8 when it was measured and is 2 in this run: the figures may be others "
        "here. Measure again: python benchmarks/observability.py "
        "Not measured, and so not judged: middleware_cpu."
    )
    assert (
        "met tracing_p95_added tracing_p95_added is promised. ≤ 5 % measured apart B "
        "\N{MINUS SIGN}1 to 3 % of a benchmark, before this run — benchmark: -1 % to 3 %, at most 5 % allowed "
        "benchmark was asked ai_p95_added of it; measured before this run, "
        "at 2026-11-22T07:00:00Z"
    ) in section(html, "objectives")


def test_a_run_that_promises_no_figures_does_not_speak_of_them(document: dict[str, Any]) -> None:
    assert 'id="benchmarks"' not in page(document)


def test_agent_and_tools_as_the_traces_show_them(document: dict[str, Any]) -> None:
    grep = {"name": "grep", "calls": 300, "failed": 3, "seconds": 1.5, "told": 300, "hits": 240}
    wc = {"name": "wc", "calls": 100, "failed": 0, "seconds": 0.0, "told": 0, "hits": 0}
    document["traces"] = [
        {"window": "warm_cache", "requests": 200, "failed": 2, "sessions": None, "llm_calls": 460,
         "tools": [grep, wc]}
    ]  # fmt: skip
    told = section(page(document), "agent")
    assert "Sessions warm_cache 200 99 % 2.3 2 — " in told
    assert told.endswith(
        "Tools, in all scenarios Tool Calls Share Succeeded From a cache Mean time "
        "grep 300 75 % 99 % 80 % 5 ms wc 100 25 % 100 % — 0 ms"
    )


def test_without_traces_there_is_no_word_on_the_agent(document: dict[str, Any]) -> None:
    assert 'id="agent"' not in page(document)


def test_a_closed_loop_is_called_one_and_says_what_it_hides(document: dict[str, Any]) -> None:
    assert "Each user waits" not in section(page(document), "load")
    document["windows"][0].update(open_loop=False, arrivals="closed loop, 5 users", planned=None)
    told = section(page(document), "load")
    assert (
        "warm_cache: closed loop. Each user waits for an answer before asking again, so a slow "
        "target is asked less, and the waiting of those who would have come meanwhile is in no "
        "figure here."
    ) in told
    assert "closed loop, 5 users closed loop , 1 process" in told


def test_what_was_not_sent_shed_lost_or_stopped_is_told(document: dict[str, Any]) -> None:
    document["windows"][0].update(
        planned=260, shed=30, not_sent=20, may_be_lost=10, notices=["it was stopped at 200"]
    )
    document["accounts"][0].update(unsent=37)
    told = section(page(document), "load")
    assert "40 s 5 /s 5 /s 260 30 20 200 7 0 10 10 1 ms 4 ms" in told
    assert "warm_cache : it was stopped at 200" in told


def test_what_was_spent_is_shown_where_a_budget_was_given(document: dict[str, Any]) -> None:
    assert "Spent" not in section(page(document), "load")
    document["windows"][0].update(spent_usd=0.0081, budget_usd=0.01)
    told = section(page(document), "load")
    assert "1 ms 4 ms $0.0081 of $0.01" in told
    assert "Spent is what the tokens of all answers cost" in told
    document["windows"][0].update(budget_usd=None)
    assert "1 ms 4 ms $0.0081 Planned arrivals" in section(page(document), "load")


def test_how_each_load_process_fared(document: dict[str, Any]) -> None:
    document["windows"][0]["generator"] = {
        "processes": [
            {"process": 0, "seconds": 40, "begun": 200, "lateness": 0.03, "loop_lag_p99": 0.02,
             "cpu_mean": 0.1, "cpu_most": 0.25, "sockets": 12, "in_flight": 9, "gc_seconds": 0.004,
             "memory_first": 90 * 2**20, "memory_last": 95 * 2**20}
        ],
        "piece": 1.0,
        "moments": [
            {"at": 1.0, "lateness": 0.03, "loop_lag": 0.02, "machine": 0.5, "cpu": [0.25]}
        ],
    }  # fmt: skip
    html = page(document)
    assert "How the generator fared in warm_cache" in section(html, "load")
    assert "0 200 30 ms 20 ms 10 % 25 % 9 12 4 ms 90 MiB 95 MiB" in section(html, "load")
    assert html.count('class="fared"') == 1


def test_streams_have_rows_of_their_own(document: dict[str, Any]) -> None:
    one = document["quantiles"][0]
    for time, low in (("ttft", 0.1), ("tpot", 0.02), ("inter_token", 0.03)):
        value = {"low": low, "high": low}
        for q in (0.5, 0.99):
            document["quantiles"].append({**one, "time": time, "quantile": q, "value": value})
    told = section(page(document), "times")
    assert "What was streamed client time to first token 200 events 100 ms" in told
    assert "client time per output token 200 events 20 ms" in told
    assert "client between two tokens 200 gaps 30 ms" in told


def test_a_failure_is_told_with_its_status_and_what_was_never_sent_has_no_trace(
    document: dict[str, Any],
) -> None:
    one = {"operation": "chat", "detail": "full", "count": 3, "trace_id": "abc"}
    document["windows"][0]["failures"] = [
        {**one, "outcome": "http_error", "status": 503},
        {**one, "outcome": "shed", "status": None, "trace_id": ""},
    ]
    told = section(page(document), "failures")
    assert "chat http_error 503 full 3 abc" in told
    assert "chat shed full 3 —" in told
