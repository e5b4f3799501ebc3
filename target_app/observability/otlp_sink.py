"""
Spans for an OpenTelemetry collector, Jaeger or Tempo: where the time goes, and never a content.

A span for each HTTP request, below it the chat with its LLM and tool calls. What people wrote,
and what tools and the LLM answered, is left to the logs. Names are those of the OpenTelemetry
semantic conventions for HTTP and for generative AI; the app's own begin with `agent.`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from target_app.agent.messages import Usage
from target_app.observability.export import OTLPExporter, Terms, close_within, guarded
from target_app.observability.ledger import Ledger
from target_app.observability.metrics import Metrics
from target_app.observability.spans import Details, Kind, Origin
from target_app.observability.trace_ids import TraceIds, context_of, given
from target_app.settings import Settings

SERVICE = "target-app"
AGENT = "filesystem-agent"
EXPORT_PATH = "/v1/traces"

KINDS: Mapping[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "agent": SpanKind.INTERNAL,
    "span": SpanKind.INTERNAL,
    "generation": SpanKind.CLIENT,
    "tool": SpanKind.INTERNAL,
}

HTTP_NAMES = {
    "method": "http.request.method",
    "session_id": "gen_ai.conversation.id",
    "route": "http.route",
    "status": "http.response.status_code",
    "request_bytes": "http.request.body.size",
    "response_bytes": "http.response.body.size",
}
"""What the middleware tells of a request, by its names in the conventions."""

SHOWN_OUTPUT: Mapping[Kind, tuple[str, ...]] = {
    "agent": ("ending", "iterations", "tokens", "duration_seconds"),
    "tool": ("success", "output_length", "cache_hit", "return_code"),
}
"""What of an output is no content."""

Attributes = dict[str, AttributeValue]


class OtlpSpan:
    """One OpenTelemetry span."""

    __slots__ = ("_kind", "_maker", "_span", "_started", "span_id", "trace_id")

    def __init__(self, maker: SpanMaker, kind: Kind, span: Span) -> None:
        """Wrap a span that begins now; `maker` makes those beneath it."""
        self._maker = maker
        self._kind = kind
        self._span = span
        self._started = time.perf_counter()
        context = span.get_span_context()
        self.trace_id = format_trace_id(context.trace_id)
        self.span_id = format_span_id(context.span_id)

    def child(self, kind: Kind, name: str, details: Details) -> OtlpSpan:
        """Begin a span beneath this one."""
        return self._maker.begin(kind, name, details, set_span_in_context(self._span, Context()))

    def update(self, details: Details) -> None:
        """Add what became known."""
        attributes = _known(self._kind, details)
        if "model" in details:
            attributes["gen_ai.response.model"] = details["model"]
        self._span.set_attributes(attributes)
        route = attributes.get("http.route")
        if route is not None:
            # It is known only now, and a request is found by it.
            self._span.update_name(f"{attributes.get('http.request.method', 'HTTP')} {route}")

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def first_token(self) -> None:
        """Note that the first piece of a streamed answer came just now."""
        seconds = time.perf_counter() - self._started
        self._span.set_attribute("gen_ai.response.time_to_first_chunk", seconds)

    def end(self) -> None:
        """End the span now."""
        self._span.end()


@dataclass(frozen=True, slots=True)
class SpanMaker:
    """Begins spans as the conventions want them; `provider` is who runs the LLM."""

    tracer: Tracer
    provider: str

    def begin(
        self,
        kind: Kind,
        name: str,
        details: Details,
        above: Context,
        more: Attributes | None = None,
    ) -> OtlpSpan:
        """Begin a span below the one of `above`."""
        attributes = {**_known(kind, details), **(more or {})}
        called = name
        if kind == "agent":
            called = f"invoke_agent {AGENT}"
            attributes["gen_ai.operation.name"] = "invoke_agent"
            attributes["gen_ai.agent.name"] = AGENT
            attributes["gen_ai.provider.name"] = self.provider
        elif kind == "generation":
            model = details.get("model", "")
            called = f"chat {model}".rstrip()
            attributes["gen_ai.operation.name"] = "chat"
            attributes["gen_ai.provider.name"] = self.provider
            attributes["gen_ai.request.model"] = model
        elif kind == "tool":
            called = f"execute_tool {name}"
            attributes["gen_ai.operation.name"] = "execute_tool"
            attributes["gen_ai.tool.name"] = name
            attributes["gen_ai.tool.type"] = "function"
        span = self.tracer.start_span(called, above, KINDS[kind], attributes)
        return OtlpSpan(self, kind, span)


class OtlpSink:
    """Sends spans by OTLP over HTTP."""

    wants_server_spans = True

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        exporter: SpanExporter | None = None,
        terms: Terms | None = None,
    ) -> None:
        """Send to the settings' endpoint; `exporter` takes spans in place of the network."""
        terms = terms or Terms()
        self._ledger = Ledger("otlp", metrics, terms.room)
        self._provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": SERVICE,
                    "deployment.environment": settings.langfuse_environment,
                    "deployment.environment.name": settings.langfuse_environment,
                }
            ),
            # What is sampled is decided before, by trace id.
            sampler=ALWAYS_ON,
            id_generator=TraceIds(),
            shutdown_on_exit=False,
        )
        self._outlet = guarded(
            exporter or _exporter(settings, metrics, terms), self._ledger, metrics, terms
        )
        self._provider.add_span_processor(_BoundedBatches(self._outlet, self._ledger))
        self._maker = SpanMaker(
            self._provider.get_tracer("target_app"),
            "azure.ai.openai" if settings.uses_azure else "openai",
        )

    def root(self, kind: Kind, name: str, details: Details, origin: Origin) -> OtlpSpan:
        """Begin the first span of the app in a trace, or the chat below its request."""
        more: Attributes = {}
        if origin.tags:
            more["agent.tags"] = origin.tags
        if origin.session_id is not None:
            more["gen_ai.conversation.id"] = origin.session_id
        if kind == "server":
            more["http.request.method"] = name
        above = context_of(origin.trace_id, origin.parent_span_id)
        with given(origin.trace_id):
            return self._maker.begin(kind, name, details, above, more)

    @property
    def is_reachable(self) -> bool:
        """Whether what is told now is going to be sent, as far as is known."""
        return self._outlet.is_reachable

    def flush(self) -> None:
        """Send what waits. Blocks for as long as that takes."""
        self._provider.force_flush()

    def close(self, timeout_seconds: float) -> None:
        """Send what waits, blocking no longer than `timeout_seconds`."""
        close_within(self._provider.shutdown, self._ledger, timeout_seconds)


class _BoundedBatches(BatchSpanProcessor):
    """The SDK's batches, of the spans that the ledger lets in."""

    def __init__(self, exporter: SpanExporter, ledger: Ledger) -> None:
        super().__init__(exporter, max_export_batch_size=ledger.batch)
        self._ledger = ledger

    def on_end(self, span: ReadableSpan) -> None:
        """Let a span wait, while there is room."""
        if self._ledger.admit(span):
            super().on_end(span)


def _exporter(settings: Settings, metrics: Metrics, terms: Terms) -> OTLPExporter:
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/") + EXPORT_PATH
    return OTLPExporter(endpoint, {}, "otlp", metrics, terms.seconds)


def _known(kind: Kind, details: Details) -> Attributes:
    """Answer the attributes that tell of a span, and nothing of its contents."""
    attributes: Attributes = {}
    names = HTTP_NAMES if kind == "server" else {}
    for key, value in details.get("metadata", {}).items():
        if isinstance(value, str | bool | int | float):
            attributes[names.get(key, f"agent.{key}")] = value
    if not isinstance(attributes.get("http.response.status_code", 0), int):
        # Of an answer that never came to its end there is none.
        del attributes["http.response.status_code"]
    if details.get("model_parameters", {}).get("stream"):
        attributes["gen_ai.request.stream"] = True
    if usage := details.get("usage"):
        attributes |= _usage(usage)
    if details.get("usage_estimated"):
        attributes["agent.usage_estimated"] = True
    output = details.get("output")
    if isinstance(output, Mapping):
        for key in SHOWN_OUTPUT.get(kind, ()):
            if output.get(key) is not None:
                attributes[f"agent.{key}"] = output[key]
    return attributes


def _usage(usage: Usage) -> Attributes:
    """Name tokens as the conventions do: those read from a cache are part of the input."""
    return {
        "gen_ai.usage.input_tokens": usage.all_input,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_input,
        "gen_ai.usage.output_tokens": usage.all_output,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }
