"""Servers that fail: the app never waits for them, and every span is accounted for."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from target_app.observability.circuit import FAILURES, OPEN_SECONDS
from target_app.observability.export import CountedSession, Terms
from target_app.observability.langfuse_sink import LangfuseSink
from target_app.observability.ledger import Room
from target_app.observability.metrics import Metrics
from target_app.observability.otlp_sink import OtlpSink
from target_app.observability.request_trace import new_trace
from target_app.observability.spans import Telling
from target_app.observability.tracing import Place, Tracing
from tests.target_app.observability.collector import (
    Collector,
    Plain,
    collector,
    settings_for,
    span_counts,
)

SINKS = pytest.mark.parametrize("sink", [LangfuseSink, OtlpSink])
Sinks = type[LangfuseSink] | type[OtlpSink]
SPANS_OF_A_CHAT = 3
NEVER = 3600.0
"""An interval after which batches are sent that no test waits for: they flush themselves."""


class Traced:
    """Tracing to one sink that sends to one server."""

    def __init__(self, sink: Sinks, url: str, folder: Path, **terms: Any) -> None:
        self.metrics = Metrics()
        self.name = "langfuse" if sink is LangfuseSink else "otlp"
        settings = settings_for(url, folder, langfuse_flush_interval=NEVER)
        self.sink = sink(settings, self.metrics, terms=Terms(**{"seconds": 0.2, **terms}))
        self.tracing = Tracing(
            [Place(self.sink)], Telling(Plain(), self.metrics.tracing_seconds.inc), self.metrics
        )

    def chat(self, message: str = "hello") -> None:
        """Make the three spans of a chat, without a request around it."""
        with self.tracing.chat(new_trace(), "s1", message) as trace:
            trace.begin_iteration(1)
            trace.iteration.child("generation", "llm", model="m").end()

    @property
    def counts(self) -> dict[str, float]:
        return span_counts(self.metrics, self.name)

    @property
    def statuses(self) -> dict[str, float]:
        """Count the answers to requests, by status."""
        return {
            sample.labels["status"]: sample.value
            for family in self.metrics.trace_exports.collect()
            for sample in family.samples
            if sample.name == "trace_exports_total" and sample.value
        }

    def value(self, name: str) -> float | None:
        self.metrics.refresh()
        return self.metrics.registry.get_sample_value(name, {"sink": self.name})


@pytest.fixture(autouse=True)
def otlp_batches_only_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", str(int(NEVER * 1000)))


@pytest.fixture
def server() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture
def refused() -> str:
    """Answer the address of a port that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@SINKS
def test_what_arrived_is_what_was_counted(sink: Sinks, server: Collector, tmp_path: Path) -> None:
    traced = Traced(sink, server.url, tmp_path)
    for _ in range(5):
        traced.chat()
    assert traced.value("trace_queue_spans") == 5 * SPANS_OF_A_CHAT
    asyncio.run(traced.tracing.close())

    assert len(server.spans) == 15
    assert traced.counts == {"exported": 15}
    assert traced.statuses == {"200": 1}
    assert traced.value("trace_export_duration_seconds_count") == 1
    assert traced.value("trace_export_bytes_total") == len(server.posted[0].body)
    assert traced.value("trace_queue_spans") == traced.value("trace_queue_bytes") == 0


@SINKS
def test_a_server_that_hangs_holds_up_nothing_and_takes_no_more_memory(
    sink: Sinks, server: Collector, tmp_path: Path
) -> None:
    server.may_answer.clear()
    traced = Traced(sink, server.url, tmp_path, seconds=60, room=Room(spans=600))
    # 600 spans wake the sender, which takes 512 of them and hangs.
    for _ in range(200):
        traced.chat()
    assert server.asked.wait(60)
    for _ in range(1000):
        traced.chat()

    # All this time nobody answered, so nothing above can have waited for an answer.
    assert not server.may_answer.is_set()
    assert traced.value("trace_queue_spans") == 600
    server.may_answer.set()
    asyncio.run(traced.tracing.close(timeout_seconds=60))

    started = 1200 * SPANS_OF_A_CHAT
    assert traced.counts == {"exported": 1112, "queue_full": started - 1112}
    assert len(server.spans) == 1112


@SINKS
def test_a_queue_of_the_sdk_that_is_small_is_never_overrun(
    sink: Sinks, server: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "5")
    traced = Traced(sink, server.url, tmp_path)
    for _ in range(200):
        traced.chat()
    asyncio.run(traced.tracing.close())

    assert sum(traced.counts.values()) == 600
    assert len(server.spans) == traced.counts["exported"]


@SINKS
def test_large_spans_are_bounded_by_their_bytes(
    sink: Sinks, server: Collector, tmp_path: Path
) -> None:
    traced = Traced(sink, server.url, tmp_path, room=Room(bytes=100_000))
    for _ in range(50):
        with traced.tracing.chat(new_trace(), "s1", "hello") as trace:
            trace.root.child("tool", "grep", metadata={"note": "x" * 10_000}).end()
    held = traced.value("trace_queue_bytes")
    asyncio.run(traced.tracing.close())

    assert held is not None
    assert 80_000 < held <= 100_000
    assert traced.counts["exported"] + traced.counts["queue_full"] == 100
    assert len(server.spans) == traced.counts["exported"]


@pytest.mark.parametrize(
    ("status", "attempts"),
    [
        pytest.param(429, 6, id="too many requests, tried again"),
        pytest.param(503, 6, id="not there now, tried again"),
        pytest.param(500, 1, id="broken"),
        pytest.param(401, 1, id="wrong key"),
        pytest.param(302, 1, id="elsewhere"),
    ],
)
def test_an_answer_that_is_no_success_is_counted_by_its_status(
    server: Collector, tmp_path: Path, status: int, attempts: int
) -> None:
    server.status = status
    server.headers = {"Retry-After": "0"}
    traced = Traced(LangfuseSink, server.url, tmp_path, seconds=60)
    traced.chat()
    traced.sink.flush()

    assert traced.counts == {"export_failed": 3}
    assert traced.statuses == {str(status): attempts}
    assert len(server.posted) == attempts
    asyncio.run(traced.tracing.close())


def test_a_server_that_is_down_is_counted_as_no_connection(refused: str, tmp_path: Path) -> None:
    traced = Traced(LangfuseSink, refused, tmp_path)
    traced.chat()
    traced.sink.flush()

    assert traced.counts == {"export_failed": 3}
    assert traced.statuses == {"connection": 2}  # a connection may be stale: tried twice
    assert traced.value("trace_export_bytes_total") == 0
    asyncio.run(traced.tracing.close())


def test_a_server_that_is_slow_is_counted_as_timeout(server: Collector, tmp_path: Path) -> None:
    server.may_answer.clear()
    traced = Traced(LangfuseSink, server.url, tmp_path)
    traced.chat()
    traced.sink.flush()

    assert traced.counts == {"export_failed": 3}
    assert traced.statuses == {"timeout": 1}
    asyncio.run(traced.tracing.close())


def test_an_attempt_with_no_time_left_is_none(server: Collector) -> None:
    metrics = Metrics()
    session = CountedSession("otlp", metrics)
    session.post(server.url, timeout=60)
    with pytest.raises(requests.Timeout):
        session.post(server.url, timeout=0.0)

    # The reason that was seen last stays, and goes into the log.
    assert session.outcome == "200"
    counted = metrics.registry.get_sample_value(
        "trace_export_duration_seconds_count", {"sink": "otlp"}
    )
    assert (counted, len(server.posted)) == (1, 1)


@SINKS
def test_after_three_failures_nothing_is_sent_until_half_a_minute_has_passed(
    sink: Sinks, server: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    traced = Traced(sink, server.url, tmp_path, clock=lambda: now[0])

    def send_one() -> None:
        traced.chat()
        traced.sink.flush()

    server.status = 401
    for _ in range(FAILURES + 4):
        send_one()
    assert len(server.posted) == FAILURES
    assert traced.value("trace_circuit_open") == 1

    now[0] += OPEN_SECONDS + 1
    send_one()
    send_one()
    assert len(server.posted) == FAILURES + 1

    server.status = 200
    now[0] += OPEN_SECONDS + 1
    send_one()
    send_one()
    assert len(server.posted) == FAILURES + 3
    assert traced.value("trace_circuit_open") == 0
    asyncio.run(traced.tracing.close())

    assert traced.counts == {"export_failed": 12, "circuit_open": 15, "exported": 6}
    assert sum(traced.counts.values()) == (FAILURES + 8) * SPANS_OF_A_CHAT
    url = server.url + ("/api/public/otel/v1/traces" if sink is LangfuseSink else "/v1/traces")
    opened, closed = caplog.messages
    assert opened == (
        f"{url} takes no traces (it answers with status 401; are the keys right?): "
        "trying again every 30 s; traces until then are lost, and counted"
    )
    assert closed == f"{url} takes traces again"


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        pytest.param("status", "it answers with status 500", id="a status"),
        pytest.param("timeout", "it does not answer in time", id="too slow"),
        pytest.param("connection", "there is no connection to it", id="down"),
    ],
)
def test_the_log_says_why_nothing_is_sent(
    server: Collector,
    refused: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    outcome: str,
    why: str,
) -> None:
    server.status = 500
    if outcome == "timeout":
        server.may_answer.clear()
    url = refused if outcome == "connection" else server.url
    traced = Traced(OtlpSink, url, tmp_path, seconds=0.05)
    for _ in range(FAILURES):
        traced.chat()
        traced.sink.flush()

    assert caplog.messages[0].startswith(f"{url}/v1/traces takes no traces ({why}): ")
    asyncio.run(traced.tracing.close())


@SINKS
def test_closing_waits_no_longer_than_told_and_counts_what_is_left(
    sink: Sinks, server: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.may_answer.clear()
    traced = Traced(sink, server.url, tmp_path, seconds=60)
    with traced.tracing.chat(new_trace(), "s1", "late") as late:
        for _ in range(200):
            traced.chat()
        asyncio.run(traced.tracing.close(timeout_seconds=0.05))
        assert not server.may_answer.is_set()
        late.root.child("span", "after the end").end()

    # 600 that waited or were being sent, and 2 that ended later.
    assert traced.counts == {"shut_down": 602}
    assert caplog.messages == [
        "not all traces could be sent within 0.05 s; 600 spans are lost",
    ]


def test_an_exporter_that_raises_loses_its_batch_and_nothing_else(tmp_path: Path) -> None:
    class Raising:
        calls = 0

        def export(self, spans: list[ReadableSpan]) -> SpanExportResult:
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("broken")
            return SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int) -> bool:
            return True

    metrics = Metrics()
    exporter: Any = Raising()
    sink = OtlpSink(settings_for("http://unused", tmp_path), metrics, exporter=exporter)
    tracing = Tracing([Place(sink)], Telling(Plain(), metrics.tracing_seconds.inc), metrics)
    for _ in range(2):
        with tracing.chat(new_trace(), "s1", "hello"):
            pass
        sink.flush()
    asyncio.run(tracing.close())

    assert span_counts(metrics, "otlp") == {"export_failed": 1, "exported": 1}


@SINKS
def test_a_trace_that_will_be_lost_is_no_exemplar(
    sink: Sinks, refused: str, tmp_path: Path
) -> None:
    traced = Traced(sink, refused, tmp_path)

    def is_exemplar() -> bool:
        request = new_trace()
        with traced.tracing.chat(request, "s1", "hello"):
            return request.recorded

    assert is_exemplar()
    for _ in range(FAILURES):
        traced.chat()
        traced.sink.flush()
    assert traced.value("trace_circuit_open") == 1
    assert not is_exemplar()
    asyncio.run(traced.tracing.close())


@SINKS
def test_a_trace_that_finds_the_queue_full_is_no_exemplar(
    sink: Sinks, server: Collector, tmp_path: Path
) -> None:
    traced = Traced(sink, server.url, tmp_path, room=Room(spans=SPANS_OF_A_CHAT))
    server.may_answer.clear()
    recorded = []
    for _ in range(3):
        request = new_trace()
        with traced.tracing.chat(request, "s1", "hello") as trace:
            trace.begin_iteration(1)
            trace.iteration.child("generation", "llm").end()
        recorded.append(request.recorded)
        # The first chat is being sent from now on, the second fills the queue.
        assert server.asked.wait(60)
    server.may_answer.set()
    asyncio.run(traced.tracing.close(timeout_seconds=60))

    assert recorded == [True, True, False]
    assert traced.counts == {"exported": 6, "queue_full": 3}


@SINKS
def test_spans_begun_in_threads_and_tasks_have_the_right_parents(
    sink: Sinks, server: Collector, tmp_path: Path
) -> None:
    traced = Traced(sink, server.url, tmp_path)

    async def chat(number: int) -> None:
        with traced.tracing.chat(new_trace(), f"s{number}", "hello") as trace:
            trace.begin_iteration(number)
            above = trace.iteration
            loop = asyncio.get_running_loop()

            async def in_task() -> None:
                await asyncio.sleep(0)
                above.child("tool", f"task-{number}").end()

            await asyncio.gather(
                in_task(),
                asyncio.to_thread(lambda: above.child("tool", f"thread-{number}").end()),
                # This way no context is passed on.
                loop.run_in_executor(None, lambda: above.child("tool", f"bare-{number}").end()),
            )

    async def all_at_once() -> None:
        await asyncio.gather(*(chat(number) for number in range(8)))
        await traced.tracing.close()

    asyncio.run(all_at_once())

    spans = {span.id: span for span in server.spans}
    assert len(spans) == 8 * 5
    for span in spans.values():
        kind, _, number = span.name.removeprefix("execute_tool ").partition("-")
        if kind in {"task", "thread", "bare"}:
            above = spans[span.parent_id]
            assert (above.name, above.trace_id) == (f"iteration {number}", span.trace_id)
            if sink is LangfuseSink:
                assert span["session.id"] == f"s{number}"


def test_two_apps_in_one_process_keep_their_counts_apart(
    server: Collector, tmp_path: Path
) -> None:
    first, second = (Traced(LangfuseSink, server.url, tmp_path) for _ in range(2))
    first.chat()
    second.chat()
    second.chat()
    asyncio.run(first.tracing.close())
    asyncio.run(second.tracing.close())

    assert (first.counts, second.counts) == ({"exported": 3}, {"exported": 6})


def test_no_thread_is_made_that_would_hold_up_the_end_of_the_process(
    server: Collector, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    traced = Traced(LangfuseSink, server.url, tmp_path)
    traced.chat()
    made = set(threading.enumerate()) - before

    assert made
    assert [thread.name for thread in made if not thread.daemon] == []
    asyncio.run(traced.tracing.close())


def test_the_libraries_own_lines_about_every_batch_are_quiet(
    refused: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        traced = Traced(LangfuseSink, refused, tmp_path)
        traced.chat()
        traced.sink.flush()
        asyncio.run(traced.tracing.close())

    assert [m for m in caplog.messages if "xport" in m or "batch" in m] == []
