"""A run directory whose truth is known: 200 chats, each 350 to 550 ms, every witness agreeing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from harness.distribution import Distribution
from harness.model import GeneratorSecond, Outcome, Part, Run, Sample, Window
from harness.runs import Collection, HistogramKey, RunDirectory, Snapshot, WindowRecord

START = 1_790_000_000.0
BOUNDS = (0.1, 0.25, 0.35, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Truth:
    """What really happened in one window, and what each witness made of it."""

    window: Window = Window("warm_cache", ("warm_cache",), START, START + 40)
    samples: Sequence[Sample] = ()
    server_seconds: Sequence[float] = ()
    hits: int = 380
    misses: int = 20
    lost_traces: int = 0
    metrics_problem: str = ""
    langfuse_problem: str = ""
    extra: dict[str, float] = field(default_factory=dict)
    generator: Sequence[GeneratorSecond] = ()
    told: dict[str, Any] = field(default_factory=dict)


def known_samples(scenario: str = "warm_cache", count: int = 200) -> list[Sample]:
    return [
        Sample(
            scenario=scenario,
            operation="chat",
            trace_id=f"{i:032x}",
            intended_start=START + i / 5,
            start=START + i / 5 + 0.001,
            end=START + i / 5 + 0.351 + i / 1000,
            outcome=Outcome.OK,
            http_status=200,
            input_tokens=1000,
            output_tokens=50,
            llm_calls=2,
            tool_calls=2,
        )
        for i in range(count)
    ]


def known_second(at: float = 1.0, **changes: Any) -> GeneratorSecond:
    """One quiet second of a load process, which ended so long after the window began."""
    second = GeneratorSecond(
        process=0,
        at=START + at,
        begun=5,
        in_flight=2,
        lateness=0.001,
        loop_lag=0.004,
        cpu_share=0.05,
        machine_cpu_share=0.4,
        sockets=4,
        gc_seconds=0.001,
        memory_bytes=90 * 2**20,
    )
    return replace(second, **changes)


def known_truth(**changes: Any) -> Truth:
    samples = changes.get("samples") or known_samples()
    sent = [s for s in samples if s.outcome is not Outcome.SHED]
    truth = Truth(samples=samples, server_seconds=[s.service_time - 0.004 for s in sent])
    return replace(truth, **changes)


def exposition(truth: Truth, *, after: bool) -> str:
    """Write the server's metrics as they stood before or after the window."""
    seen = truth.server_seconds if after else ()
    n = len(seen)
    chats = sum(s.traced for s in truth.samples) if after else 0
    labels = 'method="POST",endpoint="/api/chat"'
    name = "http_request_duration_seconds"
    lines = [f"# TYPE {name} histogram"]
    for bound in BOUNDS:
        below = sum(s <= bound for s in seen)
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {below}')
    lines += [
        f'{name}_bucket{{{labels},le="+Inf"}} {n}',
        f"{name}_sum{{{labels}}} {sum(seen)}",
        f"{name}_count{{{labels}}} {n}",
    ]
    counters = {
        'http_requests_total{method="POST",endpoint="/api/chat",status="200"}': n,
        'llm_calls_total{status="success"}': 2 * chats,
        'llm_calls_total{status="error"}': 0,
        'llm_tokens_total{type="input"}': 1000 * chats,
        'llm_tokens_total{type="output"}': 50 * chats,
        'tool_executions_total{tool_name="grep",status="success"}': 2 * chats,
        'tool_executions_total{tool_name="grep",status="timeout"}': 0,
        "parallel_tool_executions_total{}": 2 * n,
        'agent_completions_total{status="success"}': n,
        'agent_completions_total{status="max_iterations"}': 0,
        'cache_operations_total{operation="get",cache_type="search",result="hit"}': truth.hits,
        'cache_operations_total{operation="get",cache_type="search",result="miss"}': truth.misses,
        'cache_invalidations_total{cache_type="search",reason="file_change"}': 0,
        'sandbox_security_blocks_total{block_type="path_traversal"}': 0,
        'agent_iterations_total_bucket{le="2.0"}': n,
        'agent_iterations_total_bucket{le="4.0"}': n,
        'agent_iterations_total_bucket{le="+Inf"}': n,
        "agent_iterations_total_count{}": n,
        'llm_token_discrepancy_ratio_bucket{le="0.1"}': n,
        'llm_token_discrepancy_ratio_bucket{le="+Inf"}': n,
        "llm_token_discrepancy_ratio_count{}": n,
        "llm_usage_estimated_total{}": 0,
        'trace_spans_total{sink="langfuse",result="exported"}': 5 * n,
        **{
            f'trace_spans_total{{sink="langfuse",result="{lost}"}}': 0
            for lost in ("queue_full", "circuit_open", "export_failed", "shut_down")
        },
        **truth.extra,
    }
    for series, value in counters.items():
        lines.append(f"{series} {value if after else 0}")
    lines.append("process_start_time_seconds 1789999000.0")
    return "\n".join(lines) + "\n"


def observations(truth: Truth) -> list[dict[str, Any]]:
    """Write the rows that Langfuse would give: a root, two generations and two tools a chat."""
    tags = ["run:known", *(f"scenario:{name}" for name in truth.window.scenarios)]
    rows: list[dict[str, Any]] = []
    sent = [s for s in truth.samples if s.outcome is not Outcome.SHED]
    for sample, seconds in zip(sent, truth.server_seconds, strict=True):
        if not sample.traced:
            continue
        shared = {"traceId": sample.trace_id, "tags": tags, "level": "DEFAULT"}
        usage = {"input": 500, "output": 25, "total": 525}
        rows.append(
            {
                **shared,
                "id": "root",
                "type": "AGENT",
                "isRootObservation": True,
                "latency": seconds,
            }
        )
        rows += [
            {
                **shared, "id": f"g{k}", "type": "GENERATION", "model": "gpt-4o-mini",
                "usageDetails": usage, "totalCost": 500 * 0.15e-6 + 25 * 0.60e-6,
            }
            for k in range(2)
        ]  # fmt: skip
        rows += [{**shared, "id": f"t{k}", "type": "TOOL", "name": "grep"} for k in range(2)]
    return rows[5 * truth.lost_traces :]


def write_run(reports: Path, *truths: Truth, run: Run | None = None) -> RunDirectory:
    """Write a run directory as the harness would have for these truths."""
    names = tuple(t.window.name for t in truths)
    directory = RunDirectory.create(
        reports,
        run
        or Run(
            id="20260921-100000-cafe",
            started=START - 20,
            ended=START + 60,
            target="http://127.0.0.1:8000",
            command="harness run",
            parts=(Part("LLM", real=False, description="simulated"),),
            versions={"harness": "0.1.0"},
            machine={"cpus": "2"},
            expected_windows=names,
        ),
    )
    for truth in truths:
        name = truth.window.name
        directory.append_samples(name, truth.samples)
        histograms: dict[HistogramKey, Distribution] = {}
        for s in truth.samples:
            for time in ("response_time", "service_time", "ttft", "tpot"):
                if (seconds := getattr(s, time)) is not None:
                    key = HistogramKey(s.scenario, s.operation, s.outcome, time)
                    histograms.setdefault(key, Distribution()).record(seconds)
        directory.write_histograms(name, histograms)
        shed = sum(s.outcome is Outcome.SHED for s in truth.samples)
        record = WindowRecord(
            truth.window,
            arrivals="Poisson, 5 per second",
            open_loop=True,
            planned=len(truth.samples),
            begun=len(truth.samples) - shed,
            requests=len(truth.samples) - shed,
            null_probes=(0.002, 0.003, 0.004),
            shed=shed,
        )
        directory.write_window(replace(record, **truth.told))
        directory.append_generator(name, truth.generator)
        for which in ("before", "after"):
            text = None if truth.metrics_problem else exposition(truth, after=which == "after")
            snapshot = Snapshot(truth.window.start, 0.02, text, truth.metrics_problem)
            directory.write_snapshot(name, which, snapshot)
        rows = [] if truth.langfuse_problem else observations(truth)
        collection = Collection(
            complete=not truth.langfuse_problem,
            polls=2,
            seconds=1.0,
            problem=truth.langfuse_problem,
        )
        directory.write_observations(name, rows, collection)
    return directory


@pytest.fixture
def known_run(tmp_path: Path) -> Callable[..., RunDirectory]:
    """Make a run directory of these truths; without any, of one where all agree."""

    def make(*truths: Truth, run: Run | None = None) -> RunDirectory:
        return write_run(tmp_path / "reports", *(truths or (known_truth(),)), run=run)

    return make


@pytest.fixture
def second() -> Callable[..., GeneratorSecond]:
    """Make a quiet second of a load process, but for the changes given."""
    return known_second


@pytest.fixture
def known() -> Callable[..., Truth]:
    """Make a truth in which all agree, but for the changes given."""
    return known_truth
