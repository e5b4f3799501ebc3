"""
Spans as observations in Langfuse, made by its SDK.

The tracer provider is the app's own, never the process's global one, so that no other library's
spans go to Langfuse. Nothing here waits for the network.
"""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime
from typing import Any

import langfuse
from langfuse import Langfuse, LangfuseOtelSpanAttributes, propagate_attributes
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from target_app.agent.messages import Usage
from target_app.observability.export import OTLPExporter, Terms, close_within, guarded
from target_app.observability.ledger import Ledger
from target_app.observability.metrics import Metrics
from target_app.observability.spans import Details, Kind, Origin
from target_app.observability.trace_ids import TraceIds, given
from target_app.settings import Settings

EXPORT_PATH = "/api/public/otel/v1/traces"
INGESTION_VERSION = "4"
LONGEST = 200
"""Characters of a session id or a tag; the SDK drops longer ones."""


class LangfuseSpan:
    """One observation."""

    __slots__ = ("_context", "_observation", "span_id", "trace_id")

    def __init__(self, observation: Any, context: Context) -> None:
        """Wrap an observation; `context` has what all of the trace share."""
        self._observation = observation
        self._context = context
        self.trace_id: str = observation.trace_id
        self.span_id: str = observation.id

    def child(self, kind: Kind, name: str, details: Details) -> LangfuseSpan:
        """Begin an observation beneath this one."""
        # Not the caller's context: a span may begin in any thread.
        token = attach(self._context)
        try:
            observation = self._observation.start_observation(
                as_type=_type(kind), name=name, **_attributes(details)
            )
        finally:
            detach(token)
        return LangfuseSpan(observation, self._context)

    def update(self, details: Details) -> None:
        """Add what became known."""
        self._observation.update(**_attributes(details))

    def fail(self, reason: str) -> None:
        """Mark the observation as failed."""
        self._observation.update(level="ERROR", status_message=reason)

    def first_token(self) -> None:
        """Note that the first piece of a streamed answer came just now."""
        self._observation.update(completion_start_time=datetime.now(UTC))

    def end(self) -> None:
        """End the observation now."""
        self._observation.end()


class LangfuseSink:
    """
    Sends spans to Langfuse.

    The SDK keeps one client per public key and process: a second sink with the same key in the
    same process would send its spans where the first one does.
    """

    wants_server_spans = False

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        exporter: SpanExporter | None = None,
        terms: Terms | None = None,
    ) -> None:
        """Send with the keys of the settings; `exporter` takes spans in place of the network."""
        terms = terms or Terms()
        self._ledger = Ledger("langfuse", metrics, terms.room)
        self._provider = TracerProvider(
            resource=_resource(settings),
            # What is sampled is decided before, by trace id.
            sampler=ALWAYS_ON,
            id_generator=TraceIds(),
            shutdown_on_exit=False,
        )
        self._outlet = guarded(
            exporter or _exporter(settings, metrics, terms), self._ledger, metrics, terms
        )
        # The documented switch: contents that look like an image would be sent besides the
        # traces, past all bounds.
        os.environ["LANGFUSE_MEDIA_UPLOAD_ENABLED"] = "false"
        self._client = Langfuse(
            public_key=settings.langfuse_public_key,
            secret_key=_secret(settings),
            base_url=settings.langfuse_host.rstrip("/"),
            environment=settings.langfuse_environment,
            release=settings.langfuse_release,
            flush_at=self._ledger.batch,
            flush_interval=settings.langfuse_flush_interval,
            tracer_provider=self._provider,
            span_exporter=self._outlet,
            should_export_span=self._admits,
        )

    def _admits(self, span: ReadableSpan) -> bool:
        """
        Answer whether the SDK may queue a span.

        It asks when a span starts, to learn whether it will be sent, and again when it ended.
        """
        return span.end_time is None or self._ledger.admit(span)

    def root(self, kind: Kind, name: str, details: Details, origin: Origin) -> LangfuseSpan:
        """Begin the first observation of the app in a trace; it is marked as the root."""
        place: dict[str, Any] = {}
        if origin.parent_span_id is not None:
            # The parent is a span that Langfuse never gets; the SDK then marks this one as
            # root, which is what readers of the traces look for.
            place["trace_context"] = {
                "trace_id": origin.trace_id,
                "parent_span_id": origin.parent_span_id,
            }
        token = attach(Context())
        try:
            with (
                given(origin.trace_id),
                propagate_attributes(
                    session_id=origin.session_id and origin.session_id[:LONGEST],
                    tags=[tag[:LONGEST] for tag in origin.tags] or None,
                    trace_name=name,
                ),
            ):
                observation = self._client.start_observation(
                    as_type=_type(kind),
                    name=name,
                    **_attributes(details),
                    **place,
                )
                return LangfuseSpan(observation, get_current())
        finally:
            detach(token)

    @property
    def is_reachable(self) -> bool:
        """Whether what is told now is going to be sent, as far as is known."""
        return self._outlet.is_reachable

    def flush(self) -> None:
        """Send what waits. Blocks for as long as that takes."""
        self._provider.force_flush()

    def close(self, timeout_seconds: float) -> None:
        """Send what waits, blocking no longer than `timeout_seconds`."""
        close_within(self._shut_down, self._ledger, timeout_seconds)

    def _shut_down(self) -> None:
        self._client.shutdown()
        self._provider.shutdown()


def usage_details(usage: Usage) -> dict[str, int]:
    """Name tokens as Langfuse prices them: each token under one key, and all under total."""
    details = {"input": usage.input, "output": usage.output, "total": usage.total}
    if usage.cached_input:
        details["input_cached_tokens"] = usage.cached_input
    if usage.reasoning:
        details["output_reasoning_tokens"] = usage.reasoning
    return details


def _type(kind: Kind) -> Any:
    """Name a kind as Langfuse does; it knows nothing of requests."""
    return "span" if kind == "server" else kind


def _attributes(details: Details) -> dict[str, Any]:
    """Name what is told as the SDK does."""
    attributes: dict[str, Any] = dict(details)
    if "usage" in attributes:
        attributes["usage_details"] = usage_details(attributes.pop("usage"))
    if attributes.pop("usage_estimated", False):
        attributes["metadata"] = {**details.get("metadata", {}), "usage_estimated": True}
    return attributes


def _resource(settings: Settings) -> Resource:
    attributes = {
        "service.name": "target-app",
        LangfuseOtelSpanAttributes.ENVIRONMENT: settings.langfuse_environment,
    }
    if settings.langfuse_release is not None:
        attributes[LangfuseOtelSpanAttributes.RELEASE] = settings.langfuse_release
    return Resource.create(attributes)


def _secret(settings: Settings) -> str:
    secret = settings.langfuse_secret_key
    return "" if secret is None else secret.get_secret_value()


def _exporter(settings: Settings, metrics: Metrics, terms: Terms) -> OTLPExporter:
    endpoint = settings.langfuse_host.rstrip("/") + EXPORT_PATH
    return OTLPExporter(endpoint, _headers(settings), "langfuse", metrics, terms.seconds)


def _headers(settings: Settings) -> dict[str, str]:
    """Answer the headers that the SDK itself would send."""
    public_key = settings.langfuse_public_key or ""
    credentials = base64.b64encode(f"{public_key}:{_secret(settings)}".encode()).decode()
    return {
        "Authorization": f"Basic {credentials}",
        "x-langfuse-sdk-name": "python",
        "x-langfuse-sdk-version": langfuse.__version__,
        "x-langfuse-public-key": public_key,
        "x-langfuse-ingestion-version": INGESTION_VERSION,
    }
