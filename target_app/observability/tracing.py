"""
Traces: one per chat, and in it a span per iteration, LLM call, turn of tools and tool call.

Where they go is decided by the profile: to Langfuse, to an OpenTelemetry collector, into the log,
or nowhere. Nothing here waits for the network.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from target_app.observability.langfuse_sink import LangfuseSink
from target_app.observability.log_sink import LogSink
from target_app.observability.metrics import Metrics
from target_app.observability.otlp_sink import OtlpSink
from target_app.observability.redaction import Redactor
from target_app.observability.request_trace import RequestTrace
from target_app.observability.spans import (
    Details,
    Kind,
    Origin,
    Sink,
    SinkSpan,
    Span,
    Telling,
    Told,
)
from target_app.observability.trace_ids import one_span_id
from target_app.settings import Settings

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
"""How long a shutdown waits for the last spans, at most."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    A sink, and the share of traces it is told.

    A trace is kept or dropped as a whole, by its id; the caller's flag is not obeyed.
    """

    sink: Sink
    sample_rate: float = 1.0

    def takes(self, trace_id: str) -> bool:
        """Answer whether a trace, 32 hexadecimal digits, is in the sample."""
        if self.sample_rate >= 1:
            return True
        bound = TraceIdRatioBased.get_bound_for_rate(self.sample_rate)
        return int(trace_id, 16) & TraceIdRatioBased.TRACE_ID_LIMIT < bound


class ChatTrace:
    """The trace of one chat, while it lasts."""

    def __init__(self, root: Span, forwarded: Mapping[str, str]) -> None:
        """Begin at the root; `forwarded` goes to the LLM when tracing itself is off."""
        self.root = root
        self.iteration = root
        self.forwarded = forwarded

    def begin_iteration(self, number: int) -> None:
        """Begin the next iteration, ending the one before."""
        if not self.root.is_recording:
            return
        self.end_iteration()
        self.iteration = self.root.child("span", f"iteration {number}")

    def end_iteration(self) -> None:
        """End the iteration that is running, if one is."""
        if self.iteration is not self.root:
            self.iteration.end()
            self.iteration = self.root


class Tracing:
    """Makes the traces of the app, or none when it is off."""

    def __init__(self, places: Sequence[Place], telling: Telling, metrics: Metrics) -> None:
        """Tell these places; without any, tracing stays off."""
        self._places = tuple(places)
        self._telling = telling
        self._enabled_gauge = metrics.tracing_enabled
        self._recorded = metrics.traces.labels("recorded")
        self._not_sampled = metrics.traces.labels("not_sampled")
        self._switched_off = metrics.traces.labels("switched_off")
        self._for_requests = [place for place in self._places if place.sink.wants_server_spans]
        self.switch(on=True)

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the traces go."""
        return self._places

    @property
    def enabled(self) -> bool:
        """Whether traces are made now."""
        return self._enabled

    def switch(self, *, on: bool) -> None:
        """Begin or stop making traces; those that began are told to their end."""
        self._enabled = on and bool(self._places)
        self._enabled_gauge.set(self._enabled)

    def request(self, request: RequestTrace) -> Span:
        """Begin the span of a request, for the places that want one."""
        if not self._enabled or not self._for_requests:
            return Span()
        return self._begin(
            self._for_requests, "server", request.method, {}, request, session_id=None
        )

    @contextmanager
    def chat(self, request: RequestTrace, session_id: str, message: str) -> Iterator[ChatTrace]:
        """Trace one chat. The root joins the caller's trace, and is marked as the app's root."""
        request.session_id = session_id
        if not self._enabled:
            self._switched_off.inc()
            yield ChatTrace(Span(), _forwarded(request))
            return
        root = self._begin(
            self._places, "agent", "chat", {"input": message}, request, session_id=session_id
        )
        if not root.is_recording:
            self._not_sampled.inc()
            yield ChatTrace(Span(), _forwarded(request))
            return
        self._recorded.inc()
        with root:
            trace = ChatTrace(root, {})
            try:
                yield trace
            finally:
                trace.end_iteration()

    def _begin(
        self,
        places: Sequence[Place],
        kind: Kind,
        name: str,
        details: Details,
        request: RequestTrace,
        *,
        session_id: str | None,
    ) -> Span:
        """Begin a span at each of the places that take the trace."""
        taking = [place.sink for place in places if place.takes(request.trace_id)]
        if not taking:
            return Span()
        begun: list[SinkSpan] = []
        with Told(self._telling), one_span_id():
            redaction = self._telling.redaction
            above = request.span
            origin = Origin(
                request.trace_id,
                request.context.parent_span_id if above is None else above.span_id,
                None if session_id is None else redaction.text(session_id),
                tuple(redaction.text(tag) for tag in request.context.tags),
                request.route,
            )
            shown = self._telling.redacted(details)
            called = redaction.text(name)
            for sink in taking:
                begun.append(sink.root(kind, called, shown, origin))
                request.recorded = request.recorded or sink.is_reachable
        return Span(begun, self._telling)

    async def close(self, timeout_seconds: float = FLUSH_SECONDS) -> None:
        """Send what is still queued, waiting no longer than `timeout_seconds`."""
        await asyncio.gather(
            *(asyncio.to_thread(place.sink.close, timeout_seconds) for place in self._places)
        )


def make_tracing(
    settings: Settings,
    metrics: Metrics,
    redactor: Redactor,
    span_exporter: SpanExporter | None = None,
) -> Tracing:
    """
    Set up tracing as the settings want it, and say in one log line what it came to.

    `span_exporter` takes the spans in place of the network.
    """
    places: list[Place] = []
    reason = _reason_against(settings)
    if reason:
        level = logging.WARNING if _wants_spans(settings) else logging.INFO
        logger.log(level, "no traces are sent: %s", reason)
    elif settings.wants_otlp:
        otlp = OtlpSink(settings, metrics, exporter=span_exporter)
        places.append(Place(otlp, settings.otel_traces_sampler_arg))
        logger.info("traces are sent to %s", settings.otel_exporter_otlp_endpoint)
    else:
        langfuse = LangfuseSink(settings, metrics, exporter=span_exporter)
        places.append(Place(langfuse, settings.langfuse_sample_rate))
        logger.info("traces are sent to %s", settings.langfuse_host)
    if settings.langfuse_enabled and not settings.wants_langfuse:
        logger.warning(
            "LANGFUSE_ENABLED has no effect: OBSERVABILITY_PROFILE is %s",
            settings.observability_profile,
        )
    if settings.wants_io_logs:
        places.append(Place(LogSink()))
    return Tracing(places, Telling(redactor, metrics.tracing_seconds.inc), metrics)


def _wants_spans(settings: Settings) -> bool:
    return settings.wants_langfuse or settings.wants_otlp


def _reason_against(settings: Settings) -> str:
    """Say why no spans are sent anywhere; empty when they are."""
    if settings.observability_profile in {"off", "minimal"}:
        return f"OBSERVABILITY_PROFILE is {settings.observability_profile}"
    if not _wants_spans(settings):
        return "LANGFUSE_ENABLED is not true"
    if os.environ.get(OTEL_SDK_DISABLED, "").strip().lower() == "true":
        return "OTEL_SDK_DISABLED is true"
    if settings.wants_langfuse and (
        settings.langfuse_public_key is None or settings.langfuse_secret_key is None
    ):
        wish = (
            "LANGFUSE_ENABLED is true"
            if settings.langfuse_enabled
            else "OBSERVABILITY_PROFILE is ai"
        )
        return f"{wish}, but LANGFUSE_PUBLIC_KEY or LANGFUSE_SECRET_KEY is missing"
    return ""


def _forwarded(request: RequestTrace) -> Mapping[str, str]:
    context = request.context
    if context.trace_id is None:
        return {}
    flags = "01" if context.sampled else "00"
    return {"traceparent": f"00-{context.trace_id}-{context.parent_span_id}-{flags}"}
