"""From a run directory to verdicts.json, again and again, without any server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.cli.judging import judge_run
from harness.distribution import Distribution
from harness.model import HarnessError, Outcome, Run, Sample, Window
from harness.runs import HistogramKey, RunDirectory, RunError
from harness.yamlfile import YamlError

SLO, PRICES = Path("slo.yaml"), Path("prices.yaml")
KnownRun = Callable[..., RunDirectory]
Known = Callable[..., Any]

ONE_GATE = """\
version: 1
reconcile:
  requests: http_request_duration_seconds
objectives:
  - name: chat_p95
    says: Chats are fast.
    scenario: warm_cache
    kind: latency
    quantile: 95%
    at_most: {bound}
    gate: true
    witnesses:
      client: response_time
      metrics: {{histogram: http_request_duration_seconds}}
"""


def judged(run: RunDirectory, slo: Path = SLO) -> dict[str, Any]:
    return judge_run(run, slo, PRICES)


def said(document: dict[str, Any]) -> tuple[str, int, str]:
    return document["status"], document["exit_code"], document["sentence"]


def promise(folder: Path, text: str) -> Path:
    path = folder / "other.yaml"
    path.write_text(text)
    return path


def verdict(document: dict[str, Any], name: str) -> tuple[str, str]:
    found = next(v for v in document["verdicts"] if v["objective"]["name"] == name)
    return found["status"], found["reason"]


# -- the repository's own promises -----------------------------------------------------


def test_a_run_in_which_all_agree(known_run: KnownRun):
    document = judged(known_run())

    assert said(document)[:2] == ("met", 0), document["sentence"]
    assert {a["finding"] for a in document["agreements"]} == {"agree"}
    assert verdict(document, "cache_hit_rate") == (
        "met", "metrics: 95 % of 400, 95 % sure of at least 92.82 % (80 % promised)",
    )  # fmt: skip
    assert verdict(document, "cost_per_chat") == (
        "met", "langfuse: 0.00018 USD, at most 0.002 allowed",
    )  # fmt: skip
    accounts = {a["witness"]: a for a in document["accounts"]}
    for name, count in (("requests", 200), ("llm_calls", 400), ("input_tokens", 200_000)):
        assert {w: a[name] for w, a in accounts.items()} == {
            "client": count, "metrics": count, "langfuse": count,
        }  # fmt: skip
    assert accounts["langfuse"]["cost_usd"] == accounts["langfuse"]["recomputed_usd"] == 0.036


def test_what_is_returned_is_what_is_written(known_run: KnownRun):
    run = known_run()

    document = judged(run)

    written = (run.path / "verdicts.json").read_text()
    assert json.loads(written) == document
    assert document["promises"]["slo"].startswith("slo.yaml (sha256 ")


def test_a_missed_gate(known_run: KnownRun, known: Known):
    document = judged(known_run(known(hits=300, misses=100)))

    assert said(document) == (
        "missed",
        1,
        (
            "Missed: the gate cache_hit_rate was not kept. metrics: 75 % of 400, 95 % sure of at "
            "most 78.54 % (80 % promised)."
        ),
    )


def test_lost_traces_are_a_contradiction_and_the_exit_code_says_so(
    known_run: KnownRun, known: Known
):
    document = judged(known_run(known(lost_traces=20)))

    assert said(document) == (
        "inconclusive",
        3,
        (
            "Inconclusive: client and langfuse contradict each other on requests in warm_cache: "
            "client counts 20 more than langfuse (200 against 180)."
        ),
    )
    assert verdict(document, "cache_hit_rate")[0] == "met", "the traces have no say in it"
    assert verdict(document, "tool_success") == (
        "inconclusive",
        (
            "langfuse cannot be believed: requests in warm_cache: client counts 20 more than "
            "langfuse (200 against 180)"
        ),
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"langfuse_problem": "Langfuse at http://l answered 503"},
         ("Inconclusive: the langfuse witness is missing in warm_cache: Langfuse at http://l "
         "answered 503.")),
        ({"metrics_problem": "http://t/metrics answered 404"},
         ("Inconclusive: the metrics witness is missing in warm_cache: no scrape before the "
         "window: http://t/metrics answered 404; none after the window: http://t/metrics "
         "answered 404.")),
    ],
)  # fmt: skip
def test_a_missing_witness(known_run: KnownRun, known: Known, change: Any, sentence: str):
    document = judged(known_run(known(**change)))

    assert said(document) == ("inconclusive", 3, sentence)


@pytest.mark.parametrize(
    ("factor", "finding"),
    [(1.2, "contradiction"), (1.0, "agree"), (0.5, "unaccounted time")],
)
def test_what_the_server_makes_of_its_times(
    known_run: KnownRun, known: Known, factor: float, finding: str
):
    seconds = [s * factor for s in known().server_seconds]

    document = judged(known_run(known(server_seconds=seconds)))

    times = [a for a in document["agreements"] if a["about"] == "request time"]
    assert [a["finding"] for a in times] == [finding]


# -- the same evidence, judged again -----------------------------------------------------


def test_judging_twice_gives_the_same_bytes(known_run: KnownRun):
    run = known_run()
    judged(run)
    first = (run.path / "verdicts.json").read_bytes()

    judged(run)

    assert (run.path / "verdicts.json").read_bytes() == first


def test_another_process_gives_the_same_bytes(known_run: KnownRun):
    """Whatever order its sets and hashes have."""
    run = known_run()
    program = (
        "import sys; from pathlib import Path; from harness.cli.judging import judge_run; "
        "from harness.runs import open_run; "
        "judge_run(open_run(Path(sys.argv[1])), Path('slo.yaml'), Path('prices.yaml'))"
    )
    written = []

    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, run.path], check=True, env=environment)
        written.append((run.path / "verdicts.json").read_bytes())

    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        ("1s", ("met", 0, "Met: the gate is kept, and the witnesses agree.")),
        ("350ms", ("missed", 1, ("Missed: the gate chat_p95 was not kept. client: 0 % of 200, "
                   "95 % sure of at most 1.49 % (95 % promised); metrics: 2 % of 200, 95 % sure "
                   "of at most 4.52 % (95 % promised)."))),
        ("700ms", ("inconclusive", 3, ("Inconclusive: gate chat_p95: client: 100 % of 200, 95 % "
                   "sure of at least 98.51 % (95 % promised); metrics: 77 % to 100 % of 200, so "
                   "the true share lies between 71.57 % and 100 %, and 95 % is inside; it does "
                   "not know closely enough which requests were within the bound."))),
    ],
)  # fmt: skip
def test_an_old_run_is_judged_by_new_promises(
    known_run: KnownRun, tmp_path: Path, bound: str, expected: tuple[str, int, str]
):
    run = known_run()
    judged(run)

    document = judged(run, promise(tmp_path, ONE_GATE.format(bound=bound)))

    assert said(document) == expected
    assert document["promises"]["slo"].startswith("other.yaml (sha256 ")


def test_a_witness_that_is_not_asked_is_not_missed(
    known_run: KnownRun, known: Known, tmp_path: Path
):
    run = known_run(known(langfuse_problem="refused"))

    document = judged(run, promise(tmp_path, ONE_GATE.format(bound="5s")))

    assert (document["status"], document["missing"]) == ("met", [])


# -- what is not there ------------------------------------------------------------------


def other_run(**changes: Any) -> Run:
    run = Run("20260921-100000-cafe", 1.0, "http://t", "harness run", (), {}, {}, ("warm_cache",))
    return replace(run, **changes)


def test_an_expected_window_without_any_evidence(known_run: KnownRun):
    run = known_run(run=other_run(expected_windows=("warm_cache", "cold_cache", "hot")))

    document = judged(run)

    assert said(document) == (
        "inconclusive", 3, "Inconclusive: no evidence at all of cold_cache, hot.",
    )  # fmt: skip
    assert verdict(document, "cold_cache_is_cold") == ("inconclusive", "cold_cache was not run")


def test_an_interrupted_run_is_judged_for_what_it_has(known_run: KnownRun):
    document = judged(known_run(run=other_run(interrupted=True)))

    assert said(document) == (
        "inconclusive",
        3,
        "Inconclusive: the run was interrupted; what it has is judged, the rest is missing.",
    )
    assert verdict(document, "cache_hit_rate")[0] == "met"


def test_a_run_without_any_window(known_run: KnownRun, tmp_path: Path):
    run = RunDirectory.create(tmp_path, other_run())

    document = judged(run)

    assert said(document)[:2] == ("inconclusive", 3)
    assert document["missing"] == ["no evidence at all of warm_cache"]
    assert {v["status"] for v in document["verdicts"]} == {"inconclusive"}


def test_a_window_that_was_never_closed(known_run: KnownRun):
    run = known_run()
    record = run.read_window("warm_cache")
    window = replace(record.window, end=record.window.start + 1e-3)
    run.write_window(replace(record, window=window, planned=None, begun=None, requests=0))
    for lost in ("histograms.jsonl", "metrics-after.json", "langfuse.json"):
        (run.path / "windows/warm_cache" / lost).unlink()

    document = judged(run)

    assert document["missing"] == [
        (
            "the client witness is missing in warm_cache: its window was never closed: 200 rows but "
            "no histogram"
        ),
        "the metrics witness is missing in warm_cache: no scrape after the window: not tried",
        "the langfuse witness is missing in warm_cache: its observations were never read",
    ]
    assert said(document)[:2] == ("inconclusive", 3)


def test_a_mixed_window_cannot_be_told_apart(known_run: KnownRun, known: Known):
    window = Window("mixed", ("cold_cache", "warm_cache"), 1_790_000_000.0, 1_790_000_040.0)

    document = judged(known_run(known(window=window), run=other_run(expected_windows=("mixed",))))

    assert verdict(document, "chat_p95")[1].startswith("warm_cache ran together with other")
    assert verdict(document, "tool_success")[0] == "met", "it is about all windows"


# -- files that are wrong -----------------------------------------------------------------


def test_a_last_line_cut_short_is_told_by_the_counts(known_run: KnownRun):
    """The histogram holds 200 values, and 199 rows are whole."""
    run = known_run()
    path = run.path / "windows/warm_cache/samples.jsonl"
    path.write_bytes(path.read_bytes()[:-20])

    document = judged(run)

    assert document["missing"] == [
        "the client witness is missing in warm_cache: 199 rows but 200 values in the histograms"
    ]


def test_a_line_damaged_in_the_middle_is_named(known_run: KnownRun):
    run = known_run()
    path = run.path / "windows/warm_cache/samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:6], lines[6][:40] + "\n", *lines[7:]]))

    with pytest.raises(RunError) as caught:
        judged(run)

    assert str(caught.value).startswith(f"{path}:7 is damaged: ")


@pytest.mark.parametrize(
    ("slo", "prices", "error"),
    [
        (Path("no.yaml"), PRICES, "no.yaml: cannot be read: No such file or directory"),
        (SLO, Path("no.yaml"), "no.yaml: cannot be read: No such file or directory"),
    ],
)
def test_promises_and_prices_that_are_not_there(
    known_run: KnownRun, slo: Path, prices: Path, error: str
):
    with pytest.raises(YamlError) as caught:
        judge_run(known_run(), slo, prices)

    assert str(caught.value) == error
    assert isinstance(caught.value, HarnessError)


def test_failures_of_the_target_are_counted_by_all(known_run: KnownRun, known: Known):
    samples: Sequence[Sample] = [
        replace(s, outcome=Outcome.HTTP_ERROR, http_status=500) if i < 40 else s
        for i, s in enumerate(known().samples)
    ]

    document = judged(known_run(known(samples=samples)))

    assert verdict(document, "agent_success") == (
        "inconclusive",
        (
            "the witnesses lead to opposite verdicts: client: 80 % of 200, 95 % sure of at most "
            "84.54 % (95 % promised); metrics: 100 % of 200, 95 % sure of at least 98.51 % (95 % "
            "promised)"
        ),
    )


def test_histograms_that_do_not_hold_every_row(known_run: KnownRun):
    run = known_run()
    key = HistogramKey("warm_cache", "chat", Outcome.OK, "service_time")
    run.write_histograms("warm_cache", {key: Distribution([0.4])})

    document = judged(run)

    assert document["missing"] == [
        "the client witness is missing in warm_cache: 200 rows but 1 values in the histograms"
    ]


def test_a_load_that_did_not_send_what_was_planned_is_never_met(known_run: KnownRun):
    run = known_run()
    run.write_window(
        replace(
            run.read_window("warm_cache"),
            planned=5000,
            begun=201,
            locust_requests=201,
            notes=("a worker died",),
        )
    )

    document = judged(run)

    assert document["missing"] == [
        "in warm_cache, a worker died",
        "in warm_cache, 5000 arrivals were planned and 201 began",
        "in warm_cache, 201 arrivals sent only 200 requests",
        "in warm_cache, Locust counts 201 requests, the rows are 200",
    ]
    assert said(document)[:2] == ("inconclusive", 3)


def told(run: RunDirectory, **changes: Any) -> RunDirectory:
    run.write_window(replace(run.read_window("warm_cache"), **changes))
    return run


def test_a_stop_that_was_asked_for_is_shown_and_no_fault(known_run: KnownRun):
    stopped_by = (
        "--max-requests 200 was reached after 39.0 s; 50 of 250 planned arrivals were not sent"
    )

    document = judged(told(known_run(), planned=250, stopped_by=stopped_by))

    assert (document["status"], document["missing"]) == ("met", [])
    (window,) = document["windows"]
    assert (window["planned"], window["begun"], window["not_sent"]) == (250, 200, 50)
    assert window["notices"] == [f"the sending ended early: {stopped_by}"]


def test_a_deck_that_ran_out_is_told_and_no_fault(known_run: KnownRun):
    ran_out = "the deck questions.csv has no question left; 50 of 250 arrivals were not sent"

    document = judged(told(known_run(), planned=250, stopped_by=ran_out))

    assert (document["status"], document["missing"]) == ("met", [])
    assert document["windows"][0]["notices"] == [f"the sending ended early: {ran_out}"]


@pytest.mark.parametrize(
    ("spent", "budget", "notices"),
    [
        (None, None, []),
        (0.0081, None, ["spent $0.0081"]),
        (0.0081, 0.01, ["spent $0.0081 of $0.01"]),
        (
            0.0758,
            0.003,
            [
                (
                    "spent $0.0758 of $0.003, $0.0728 more than allowed: what a request costs is "
                    "known once it is answered, and some were under way"
                )
            ],
        ),
    ],
)
def test_what_was_spent_of_a_budget_is_told_and_an_overrun_is_no_fault(
    known_run: KnownRun, spent: float | None, budget: float | None, notices: list[str]
):
    document = judged(told(known_run(), spent_usd=spent, budget_usd=budget))

    assert (document["status"], document["missing"]) == ("met", [])
    (window,) = document["windows"]
    assert window["notices"] == notices
    assert (window["spent_usd"], window["budget_usd"]) == (spent, budget)


def test_requests_that_died_with_a_load_process_may_be_missing(known_run: KnownRun):
    document = judged(told(known_run(), planned=212, may_be_lost=12))

    assert document["missing"] == [
        (
            "in warm_cache, up to 12 requests may be missing: load processes were lost before "
            "they told of them"
        ),
        "in warm_cache, 212 arrivals were planned and 200 began",
    ]
    assert said(document)[:2] == ("inconclusive", 3)
    assert document["windows"][0]["may_be_lost"] == 12


def test_times_that_no_histogram_holds_are_told(known_run: KnownRun):
    document = judged(told(known_run(), clamped=2))

    assert document["windows"][0]["notices"] == [
        "2 times were below zero or above an hour, and count as that"
    ]


def test_what_the_ceiling_turned_away_counts_as_failed_and_is_named(
    known_run: KnownRun, known: Known, tmp_path: Path
):
    samples = known().samples
    shed = [
        replace(
            s, operation="journey", end=s.start, outcome=Outcome.SHED, traced=False,
            trace_id=f"{s.trace_id[:-4]}beef", http_status=None, llm_calls=None,
            tool_calls=None, input_tokens=None, output_tokens=None,
        )
        for s in samples[:20]
    ]  # fmt: skip
    slo = promise(tmp_path, ONE_GATE.format(bound="5s"))

    document = judged(known_run(known(samples=[*samples, *shed])), slo)

    assert verdict(document, "chat_p95") == (
        "inconclusive",
        (
            "the witnesses lead to opposite verdicts: client: 90.91 % of 220, 95 % sure of at "
            "most 93.89 % (95 % promised); metrics: 100 % of 200, 95 % sure of at least 98.51 % "
            "(95 % promised)"
        ),
    )
    assert document["sentence"].endswith(
        " In warm_cache, 20 of 220 journeys were shed: too many were under way. They count as "
        "failed."
    )
    assert document["missing"] == []
    (window,) = document["windows"]
    assert (window["planned"], window["begun"], window["shed"]) == (220, 200, 20)
    assert (window["requests"], window["not_sent"], window["achieved_rate"]) == (200, 0, 5.0)
    assert [(f["outcome"], f["count"]) for f in window["failures"]] == [("shed", 20)]


def test_documents_leave_no_trace_and_the_counts_agree_all_the_same(
    known_run: KnownRun, known: Known
):
    chats = known().samples
    documents = [
        replace(
            s, operation="read", traced=False, trace_id=f"{s.trace_id[:-4]}d0c5",
            end=s.start + 0.02, llm_calls=None, tool_calls=None, input_tokens=None,
            output_tokens=None,
        )
        for s in chats[:50]
    ]  # fmt: skip

    document = judged(known_run(known(samples=[*chats, *documents])))

    assert said(document)[:2] == ("met", 0), document["sentence"]
    assert {a["finding"] for a in document["agreements"]} == {"agree"}
    counted = {a["witness"]: (a["requests"], a["untraced"]) for a in document["accounts"]}
    assert counted == {"client": (250, 50), "metrics": (250, 0), "langfuse": (200, 0)}
    client = next(
        m
        for v in document["verdicts"]
        if v["objective"]["name"] == "chat_p95"
        for m in v["measurements"]
        if m["witness"] == "client"
    )
    assert (client["events"], client["note"]) == (
        200, "50 requests that are no chats are left out",
    )  # fmt: skip


def test_a_window_without_chats_has_no_cost_to_compare(known_run: KnownRun, known: Known):
    served = [
        replace(
            s, operation="read", traced=False, llm_calls=None, tool_calls=None,
            input_tokens=None, output_tokens=None,
        )
        for s in known().samples
    ]  # fmt: skip
    files = known(samples=served, lost_traces=200, window=replace(known().window, name="files"))

    document = judged(known_run(known(), files))

    assert [a["window"] for a in document["agreements"] if a["about"] == "cost"] == ["warm_cache"]


CLIENT_ALONE = """\
version: 1
objectives:
  - name: chat_p95
    says: Chats are fast.
    scenario: warm_cache
    kind: latency
    quantile: 95%
    at_most: 50ms
    gate: true
    witnesses:
      client: response_time
"""


def sent(service: float, lateness: float, samples: Any, **changes: Any) -> Any:
    """Make every request take as long, and be sent as late."""
    return [
        replace(s, intended_start=s.start - lateness, end=s.start + service, **changes)
        for s in samples
    ]


@pytest.mark.parametrize(
    ("service", "lateness", "outcome", "status"),
    [
        pytest.param(0.0086, 0.083, "ok", "inconclusive", id="a generator that sends late"),
        pytest.param(0.0086, 0.001, "ok", "met", id="and one that does not"),
        pytest.param(0.09, 0.0, "ok", "missed", id="a slow target"),
        pytest.param(0.09, 0.083, "ok", "missed", id="a slow target, asked late"),
        pytest.param(0.0086, 0.083, "http_error", "missed", id="failures"),
    ],
)
def test_only_what_the_target_took_can_miss_a_gate(
    known_run: KnownRun, known: Known, tmp_path: Path, service: float, lateness: float,
    outcome: str, status: str,
):  # fmt: skip
    samples = sent(service, lateness, known().samples, outcome=Outcome(outcome))

    document = judged(known_run(known(samples=samples)), promise(tmp_path, CLIENT_ALONE))

    assert document["status"] == status, document["sentence"]
    assert verdict(document, "chat_p95")[0] == status
    named = "only the load generator's own lateness carried p95 over the bound"
    assert (named in document["sentence"]) is (status == "inconclusive")


def test_a_target_that_freezes_is_to_blame_for_those_who_wait_in_it(
    known_run: KnownRun, known: Known, tmp_path: Path
):
    # Sent on time, into a server that answers nobody for 8 s.
    frozen = [
        replace(s, intended_start=s.start, end=max(s.start + 0.01, known().window.start + 8.0))
        for s in known().samples
    ]

    document = judged(known_run(known(samples=frozen)), promise(tmp_path, CLIENT_ALONE))

    assert verdict(document, "chat_p95") == (
        "missed", "client: 80 % of 200, 95 % sure of at most 84.54 % (95 % promised)",
    )  # fmt: skip


def test_metrics_that_cannot_see_lateness_do_not_make_it_the_targets(
    known_run: KnownRun, known: Known, tmp_path: Path
):
    slo = promise(tmp_path, ONE_GATE.format(bound="50ms"))
    samples = sent(0.0086, 0.083, known().samples)

    document = judged(known_run(known(samples=samples)), slo)

    status, reason = verdict(document, "chat_p95")
    assert status == "inconclusive"
    assert "client: 0 % of 200, 95 % sure of at most 1.49 % (95 % promised), but only" in reason
    assert "100 % are within the bound (p95 9 ms instead of 92 ms)" in reason


def test_a_closed_loop_that_stood_still_may_have_set_p95_itself(
    known_run: KnownRun, known: Known, second: Known, tmp_path: Path
):
    samples = [
        replace(s, intended_start=s.start, end=s.start + (2.0 if i % 10 == 0 else 0.02))
        for i, s in enumerate(known().samples)
    ]
    seconds = [second(i + 1, loop_lag=2.9 if i == 7 else 0.004) for i in range(40)]
    slo = promise(tmp_path, CLIENT_ALONE)

    run = known_run(known(samples=samples))
    quick = judged(run, slo)
    run.append_generator("warm_cache", seconds)
    stood = judged(run, slo)

    assert verdict(quick, "chat_p95")[0] == "missed"
    status, reason = verdict(stood, "chat_p95")
    assert (status, stood["missing"]) == ("inconclusive", [])
    assert "its loop stood still for 7.2 % of the window, up to 2.90 s at a time" in reason


def test_a_generator_that_could_not_keep_up_is_inconclusive_though_the_gate_looks_missed(
    known_run: KnownRun, known: Known, second: Known, tmp_path: Path
):
    late = [
        replace(s, intended_start=s.intended_start - 0.4) if i % 5 == 0 else s
        for i, s in enumerate(known().samples)
    ]
    seconds = [second(i + 1, cpu_share=0.99, loop_lag=0.3) for i in range(40)]
    slo = promise(tmp_path, ONE_GATE.format(bound="600ms"))
    told_of = "in warm_cache, the load generator was the bottleneck: 40 of 200 requests were sent"

    document = judged(known_run(known(samples=late, generator=seconds)), slo)

    assert said(document)[:2] == ("inconclusive", 3)
    assert document["sentence"].startswith(f"Inconclusive: {told_of} more than 100 ms after")
    assert document["sentence"].endswith("in 40 of 40 seconds; start it with more --processes.")
    assert verdict(document, "chat_p95")[0] == "inconclusive"
    assert verdict(document, "chat_p95")[1].startswith(told_of)
    assert document["windows"][0]["lateness_p99"] == pytest.approx(0.401)
    assert document["windows"][0]["generator"]["processes"][0]["cpu_most"] == 0.99


# -- figures that a benchmark measured before ------------------------------------------------


def figures(**changes: float) -> str:
    """The file of figures as the benchmark of this repository writes it."""
    one = {"value": 0.012, "low": -0.01, "high": 0.03, "count": 400, "unit": "ratio"}
    return json.dumps(
        {
            "benchmark": "observability",
            "measured_at": "2026-11-22T07:00:00+00:00",
            "machine": {"cpus": 2, "system": "Linux 6.1"},
            "versions": {"harness": "0.1.0"},
            "figures": {"ai_p95_added": {**one, **changes}},
        }
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, ("met", "benchmark: -1 % to 3 %, at most 5 % allowed"), id="all below"),
        pytest.param(
            {"value": 0.06, "low": 0.055, "high": 0.07},
            ("missed", "benchmark: 5.5 % to 7 %, at most 5 % allowed"),
            id="all above",
        ),
        pytest.param(
            {"high": 0.07},
            ("inconclusive", "benchmark: 5 % lies inside what it knows, -1 % to 7 %"),
            id="on both sides",
        ),
    ],
)
def test_a_figure_is_judged_and_never_touches_the_exit_code(
    known_run: KnownRun, changes: dict[str, float], expected: tuple[str, str]
):
    run = known_run()
    run.write_benchmark("observability", figures(**changes))

    document = judged(run)

    assert verdict(document, "tracing_p95_added") == expected
    assert said(document)[:2] == ("met", 0)
    (facts,) = document["benchmarks"]
    assert (facts["name"], facts["differences"]) == ("observability", [])
    assert [f["objective"] for f in facts["figures"]] == ["tracing_p95_added"]
    assert document["unmeasured"] == [
        (
            "Not measured, and so not judged: metrics_cpu_share, scrape_seconds_after_10k, "
            "middleware_cpu; the benchmark observability was run, but its figures lack "
            "metrics_cpu_share, scrape_seconds, middleware_cpu_ratio. "
            "`python benchmarks/observability.py` measures them for the runs after it."
        )
    ]


def test_figures_that_nobody_measured_are_no_verdicts(known_run: KnownRun):
    document = judged(known_run())

    names = [v["objective"]["name"] for v in document["verdicts"]]
    assert "token_discrepancy" in names
    assert "tracing_p95_added" not in names
    assert document["benchmarks"] == []
    assert document["unmeasured"] == [
        (
            "Not measured, and so not judged: tracing_p95_added, metrics_cpu_share, "
            "scrape_seconds_after_10k, middleware_cpu; the run has no figures of the benchmark "
            "observability. `python benchmarks/observability.py` measures them for the runs after it."
        )
    ]
    assert "tracing_p95_added" not in document["sentence"]


def test_figures_of_another_machine_are_judged_and_said(known_run: KnownRun):
    run = known_run()
    run.write_benchmark("observability", figures().replace('"cpus": 2', '"cpus": 64'))

    (facts,) = judged(run)["benchmarks"]

    assert facts["differences"] == ["cpus was 64 when it was measured and is 2 in this run"]


def test_damaged_figures_are_named(known_run: KnownRun):
    run = known_run()
    run.write_benchmark("observability", "{}")

    with pytest.raises(HarnessError) as caught:
        judged(run)

    path = run.path / "benchmarks/observability.json"
    assert str(caught.value) == f"{path}: benchmark: missing; it must be given"


# -- what the telemetry says of itself ---------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "name", "expected"),
    [
        pytest.param(
            {'llm_token_discrepancy_ratio_bucket{le="0.1"}': 100}, "token_discrepancy",
            ("missed", "metrics: 50 % of 200, 95 % sure of at most 56.04 % (90 % promised)"),
            id="usage that is not what the tokenizer counts",
        ),
        pytest.param(
            {"llm_usage_estimated_total{}": 3}, "llm_usage_estimated",
            ("missed", "metrics: 3, at most 0 allowed"), id="usage that had to be estimated",
        ),
        pytest.param(
            {'trace_spans_total{sink="langfuse",result="queue_full"}': 7,
             'trace_spans_total{sink="langfuse",result="export_failed"}': 5}, "trace_losses",
            ("missed", "metrics: 12, at most 0 allowed"), id="spans that never left",
        ),
    ],
)  # fmt: skip
def test_the_telemetry_is_tracked_by_its_own_metrics(
    known_run: KnownRun,
    known: Known,
    extra: dict[str, float],
    name: str,
    expected: tuple[str, str],
):
    document = judged(known_run(known(extra=extra)))

    assert verdict(document, name) == expected
    assert said(document)[:2] == ("met", 0)


def test_telemetry_that_says_nothing_wrong_is_met(known_run: KnownRun):
    document = judged(known_run())

    for name in ("token_discrepancy", "llm_usage_estimated", "trace_losses"):
        assert verdict(document, name)[0] == "met"
