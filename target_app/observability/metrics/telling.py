"""Metrics of the telling itself: what traces and logs cost, and what of them is lost."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from target_app.observability.metrics.edges import EXPORT_EDGES

SINKS = ("langfuse", "otlp")
SPAN_RESULTS = ("exported", "queue_full", "circuit_open", "export_failed", "shut_down")
EXPORT_STATUSES = ("200", "timeout", "connection", "error")
"""Those made in advance; other codes of HTTP come with the first answer that has them."""


class TellingGroup:
    """What is told of traces and log lines."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the metrics and all their children."""
        self.tracing_enabled = Gauge(
            "tracing_enabled",
            "Whether chats are traced now: 1 or 0.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.tracing_seconds = Counter(
            "tracing_seconds_total",
            "Time that requests spent telling traces and log lines of input and output.",
            registry=registry,
        )
        self.traces = Counter(
            "traces_total", "Chats, by what became of their trace.", ["result"], registry=registry
        )
        self.log_lines = Counter(
            "log_lines_total", "Log lines, by what became of them.", ["result"], registry=registry
        )
        self.log_bytes = Counter(
            "log_bytes_total", "Bytes of the log lines written.", registry=registry
        )
        for result in ("recorded", "not_sampled", "switched_off"):
            self.traces.labels(result)
        for result in ("written", "dropped"):
            self.log_lines.labels(result)
        self._make_export(registry)

    def _make_export(self, registry: CollectorRegistry) -> None:
        self.trace_queue_spans = Gauge(
            "trace_queue_spans",
            "Spans that wait to be sent.",
            ["sink"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.trace_queue_bytes = Gauge(
            "trace_queue_bytes",
            "About how much memory the spans take that wait to be sent.",
            ["sink"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.trace_spans = Counter(
            "trace_spans_total",
            "Spans that ended, by what became of them.",
            ["sink", "result"],
            registry=registry,
        )
        self.trace_exports = Counter(
            "trace_exports_total",
            "Attempts to send spans, by the answer.",
            ["sink", "status"],
            registry=registry,
        )
        self.trace_export_duration = Histogram(
            "trace_export_duration_seconds",
            "Attempts to send spans.",
            ["sink"],
            buckets=EXPORT_EDGES,
            registry=registry,
        )
        self.trace_export_bytes = Counter(
            "trace_export_bytes_total",
            "Bytes of the bodies in which spans were sent.",
            ["sink"],
            registry=registry,
        )
        self.trace_circuit_open = Gauge(
            "trace_circuit_open",
            "Whether sending is given up for now, after it failed again and again: 1 or 0.",
            ["sink"],
            registry=registry,
            multiprocess_mode="livemax",
        )
        for sink in SINKS:
            self.trace_queue_spans.labels(sink)
            self.trace_queue_bytes.labels(sink)
            self.trace_export_duration.labels(sink)
            self.trace_export_bytes.labels(sink)
            self.trace_circuit_open.labels(sink)
            for result in SPAN_RESULTS:
                self.trace_spans.labels(sink, result)
            for status in EXPORT_STATUSES:
                self.trace_exports.labels(sink, status)
