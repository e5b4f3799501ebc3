"""
What becomes of every span on its way out: how many wait, how many left, how many were lost.

The SDK's own queue drops its oldest spans without saying so. The ledger stands before it and lets
a span in only while there is room, so that queue never overflows, and every span let in or
refused is counted exactly once: started and sampled = exported + lost.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.trace import ReadableSpan

from target_app.observability.metrics import Metrics

SinkName = Literal["langfuse", "otlp"]
Result = Literal["exported", "queue_full", "circuit_open", "export_failed", "shut_down"]
RESULTS: tuple[Result, ...] = (
    "exported",
    "queue_full",
    "circuit_open",
    "export_failed",
    "shut_down",
)

DEFAULT_SPANS = 2048
"""The SDK's queue, unless OTEL_BSP_MAX_QUEUE_SIZE says otherwise."""

SDK_BATCH = 512
"""Spans that the SDK sends at once, unless told otherwise."""

MAX_BYTES = 32 * 1024 * 1024
"""Attributes of all spans that wait or are being sent."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much may wait: spans, and bytes of their attributes."""

    spans: int = DEFAULT_SPANS
    bytes: int = MAX_BYTES


def room_of_the_sdk() -> Room:
    """Answer the room there is in the SDK's own queue, which must never be full."""
    try:
        return Room(int(os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE, DEFAULT_SPANS)))
    except ValueError:
        return Room()


class Ledger:
    """Counts the spans of one sink in and out. Used by all threads."""

    def __init__(self, sink: SinkName, metrics: Metrics, room: Room | None = None) -> None:
        """Count as `sink`; None is the room of the SDK's queue."""
        self.sink = sink
        self._room = room or room_of_the_sdk()
        self._lock = threading.Lock()
        self._waiting: dict[int, int] = {}
        self._waiting_bytes = 0
        self._leaving = 0
        self._leaving_bytes = 0
        self._refusing = False
        self._abandoned = False
        self._counts = {result: metrics.trace_spans.labels(sink, result) for result in RESULTS}
        metrics.watch(metrics.trace_queue_spans.labels(sink), lambda: self.waiting)
        metrics.watch(metrics.trace_queue_bytes.labels(sink), lambda: self.bytes)

    @property
    def batch(self) -> int | None:
        """Spans to send at once: None leaves it to the SDK, which refuses more than can wait."""
        return self._room.spans if self._room.spans < SDK_BATCH else None

    @property
    def waiting(self) -> int:
        """Spans that ended and were not taken by the exporter yet."""
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        """Bytes of attributes of the spans that wait or are being sent."""
        return self._waiting_bytes + self._leaving_bytes

    @property
    def has_room(self) -> bool:
        """Whether a span that ends now may wait."""
        return (
            not self._refusing
            and len(self._waiting) < self._room.spans
            and self.bytes < self._room.bytes
        )

    def admit(self, span: ReadableSpan) -> bool:
        """Answer whether an ended span may wait; one that may not is lost, and counted."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return False
        size = _bytes_of(span)
        lost: Result
        with self._lock:
            if self._refusing:
                lost = "shut_down"
            elif len(self._waiting) >= self._room.spans or self.bytes + size > self._room.bytes:
                lost = "queue_full"
            else:
                self._waiting[context.span_id] = size
                self._waiting_bytes += size
                return True
        self._counts[lost].inc()
        return False

    def take(self, spans: Sequence[ReadableSpan]) -> bool:
        """Note that these are about to be sent; False when they were given up already."""
        with self._lock:
            if self._abandoned:
                return False
            sizes = [self._waiting.pop(span.context.span_id, 0) for span in spans if span.context]
            self._waiting_bytes -= sum(sizes)
            self._leaving += len(spans)
            self._leaving_bytes += sum(sizes)
            return True

    def settle(self, result: Result) -> None:
        """Note what became of the spans that were taken last."""
        with self._lock:
            count, self._leaving, self._leaving_bytes = self._leaving, 0, 0
        self._counts[result].inc(count)

    def refuse(self) -> None:
        """Let nothing in from now on: the app is closing."""
        with self._lock:
            self._refusing = True

    def abandon(self) -> int:
        """Give up what is still here, count it as lost, and answer how many spans that was."""
        with self._lock:
            self._refusing = self._abandoned = True
            count = len(self._waiting) + self._leaving
            self._waiting.clear()
            self._waiting_bytes = self._leaving = self._leaving_bytes = 0
        self._counts["shut_down"].inc(count)
        return count


def _bytes_of(span: ReadableSpan) -> int:
    """Answer the memory that the attributes take, without their names: those are shared."""
    return sum(map(sys.getsizeof, (span.attributes or {}).values()))
