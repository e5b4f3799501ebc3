"""Every span that ends is counted once: as sent, or as lost for a reason."""

from __future__ import annotations

import sys
import threading

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from target_app.observability.ledger import Ledger, Room, room_of_the_sdk
from target_app.observability.metrics import Metrics
from tests.target_app.observability.collector import span_counts


def ended(number: int, text: str = "", *, sampled: bool = True) -> ReadableSpan:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    context = SpanContext(1, number, is_remote=False, trace_flags=flags)
    return ReadableSpan("span", context, attributes={"input": text})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def gauge(metrics: Metrics, name: str) -> float | None:
    metrics.refresh()
    return metrics.registry.get_sample_value(name, {"sink": "langfuse"})


def test_spans_wait_until_they_are_taken_and_count_when_settled(metrics: Metrics) -> None:
    ledger = Ledger("langfuse", metrics)
    spans = [ended(1, "x" * 100), ended(2, "x" * 100)]
    size = 2 * sys.getsizeof("x" * 100)

    assert [ledger.admit(span) for span in spans] == [True, True]
    assert (gauge(metrics, "trace_queue_spans"), gauge(metrics, "trace_queue_bytes")) == (2, size)

    assert ledger.take(spans)
    # What is being sent still takes memory.
    assert (ledger.waiting, ledger.bytes) == (0, size)

    ledger.settle("exported")
    assert (gauge(metrics, "trace_queue_spans"), gauge(metrics, "trace_queue_bytes")) == (0, 0)
    assert span_counts(metrics, "langfuse") == {"exported": 2}


def test_beyond_so_many_spans_none_may_wait(metrics: Metrics) -> None:
    ledger = Ledger("langfuse", metrics, Room(spans=2))

    assert [ledger.admit(ended(n)) for n in (1, 2, 3)] == [True, True, False]
    assert span_counts(metrics, "langfuse") == {"queue_full": 1}

    ledger.take([ended(1)])
    assert ledger.admit(ended(4))


def test_beyond_so_many_bytes_none_may_wait_not_even_while_they_are_being_sent(
    metrics: Metrics,
) -> None:
    first = ended(1, "x" * 600)
    ledger = Ledger("langfuse", metrics, Room(bytes=1000))

    assert ledger.admit(first)
    assert not ledger.admit(ended(2, "x" * 600))
    ledger.take([first])
    assert not ledger.admit(ended(3, "x" * 600))
    ledger.settle("export_failed")
    assert ledger.admit(ended(4, "x" * 600))
    assert span_counts(metrics, "langfuse") == {"queue_full": 2, "export_failed": 1}


def test_what_is_not_sampled_does_not_wait_and_is_no_loss(metrics: Metrics) -> None:
    ledger = Ledger("langfuse", metrics)

    assert not ledger.admit(ended(1, sampled=False))
    assert (ledger.waiting, span_counts(metrics, "langfuse")) == (0, {})


def test_at_the_end_what_waits_or_is_being_sent_is_lost_and_counted_once(
    metrics: Metrics,
) -> None:
    ledger = Ledger("langfuse", metrics)
    spans = [ended(n) for n in range(1, 6)]
    for span in spans:
        ledger.admit(span)
    ledger.take(spans[:2])
    ledger.refuse()

    assert not ledger.admit(ended(9))
    assert ledger.abandon() == 5
    # The thread that was left behind goes on for a while; nothing it does counts twice.
    ledger.settle("exported")
    assert not ledger.take(spans[2:])
    assert span_counts(metrics, "langfuse") == {"shut_down": 6}
    assert (ledger.waiting, ledger.bytes) == (0, 0)


def test_threads_at_once_lose_no_count(metrics: Metrics) -> None:
    ledger = Ledger("langfuse", metrics, Room(spans=1000))
    let_in: list[ReadableSpan] = []

    def admit(begin: int) -> None:
        for number in range(begin, begin + 500):
            span = ended(number)
            if ledger.admit(span):
                let_in.append(span)

    threads = [threading.Thread(target=admit, args=(n * 500 + 1,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.take(let_in)
    ledger.settle("exported")

    assert span_counts(metrics, "langfuse") == {"exported": 1000, "queue_full": 1000}
    assert ledger.bytes == 0


@pytest.mark.parametrize(
    ("told", "spans"),
    [pytest.param("100", 100, id="as told"), pytest.param("many", 2048, id="malformed")],
)
def test_the_room_is_that_of_the_sdks_queue(
    monkeypatch: pytest.MonkeyPatch, told: str, spans: int
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", told)

    assert room_of_the_sdk() == Room(spans, 32 * 1024 * 1024)
