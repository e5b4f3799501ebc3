"""
Langfuse traces: one per chat, and in it one observation per iteration, LLM call and tool call.

Nothing here waits for the network: spans are exported in batches by a background thread. The
tracer provider is the app's own, never the process's global one, so that the sample rate is
obeyed and no other library's spans go to Langfuse.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, Self

from langfuse import Langfuse, LangfuseOtelSpanAttributes, propagate_attributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from target_app.agent.messages import Message, Usage
from target_app.observability.trace_context import TraceContext
from target_app.settings import Settings

logger = logging.getLogger(__name__)

CONTENT_CHARACTERS = 1000
"""How much of one text leaves the process."""

FLUSH_SECONDS = 5.0
"""How long a shutdown waits for the last spans, at most."""

Kind = Literal["agent", "span", "tool", "generation"]


class Span:
    """One observation, or nothing at all when tracing is off. Ends when its block ends."""

    def __init__(self, observation: Any = None) -> None:
        """Wrap an observation of the Langfuse SDK, or None."""
        self._observation = observation

    @property
    def is_recording(self) -> bool:
        """Whether what is told here goes anywhere."""
        return self._observation is not None

    def child(self, kind: Kind, name: str, **attributes: Any) -> Span:
        """Begin an observation beneath this one."""
        if self._observation is None:
            return self
        return Span(self._observation.start_observation(as_type=kind, name=name, **attributes))

    def update(self, **attributes: Any) -> None:
        """Add what became known; None stands for what did not."""
        if self._observation is not None:
            self._observation.update(**attributes)

    def fail(self, reason: str) -> None:
        """Mark the observation as failed."""
        self.update(level="ERROR", status_message=reason)

    def first_token(self) -> None:
        """Note that the first piece of a streamed answer came just now."""
        self.update(completion_start_time=datetime.now(UTC))

    def end(self) -> None:
        """End the observation now."""
        if self._observation is not None:
            self._observation.end()

    def headers(self) -> Mapping[str, str]:
        """Headers that carry this span to the next service on the way."""
        if self._observation is None:
            return {}
        return {"traceparent": f"00-{self._observation.trace_id}-{self._observation.id}-01"}

    def __enter__(self) -> Self:
        """Hand out the span."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the span, whatever happened."""
        self.end()


class ChatTrace:
    """The trace of one chat, while it lasts."""

    def __init__(self, root: Span, forwarded: Mapping[str, str]) -> None:
        """Begin at the root; `forwarded` goes to the LLM when tracing itself is off."""
        self.root = root
        self.iteration = root
        self.forwarded = forwarded

    def begin_iteration(self, number: int) -> None:
        """Begin the next iteration, ending the one before."""
        self.end_iteration()
        self.iteration = self.root.child("span", f"iteration {number}")

    def end_iteration(self) -> None:
        """End the iteration that is running, if one is."""
        if self.iteration is not self.root:
            self.iteration.end()
            self.iteration = self.root


class Tracing:
    """Makes the traces of the app, or none when it is off."""

    def __init__(self, client: Langfuse | None, provider: TracerProvider | None) -> None:
        """Trace with a client of the SDK; None turns tracing off."""
        self._client = client
        self._provider = provider

    @property
    def enabled(self) -> bool:
        """Whether traces are made."""
        return self._client is not None

    @contextmanager
    def chat(self, context: TraceContext, session_id: str, message: str) -> Iterator[ChatTrace]:
        """Trace one chat. The root joins the caller's trace, and is marked as the app's root."""
        if self._client is None:
            yield ChatTrace(Span(), _forwarded(context))
            return
        place: dict[str, Any] = {}
        if context.trace_id is not None:
            # The parent is a span of the caller's that Langfuse never gets; the SDK then marks
            # this one as root, which is what readers of the traces look for.
            place["trace_context"] = {
                "trace_id": context.trace_id,
                "parent_span_id": context.parent_span_id,
            }
        with (
            propagate_attributes(
                session_id=session_id, tags=list(context.tags) or None, trace_name="chat"
            ),
            Span(
                self._client.start_observation(
                    as_type="agent", name="chat", input=cut(message), **place
                )
            ) as root,
        ):
            trace = ChatTrace(root, {})
            try:
                yield trace
            finally:
                trace.end_iteration()

    async def close(self, timeout_seconds: float = FLUSH_SECONDS) -> None:
        """Send what is still queued, waiting no longer than `timeout_seconds`."""
        if self._client is None:
            return
        # The SDK's own flush has no time limit. A daemon thread can be left behind.
        worker = threading.Thread(target=self._shut_down, name="trace-flush", daemon=True)
        worker.start()
        await asyncio.to_thread(worker.join, timeout_seconds)
        if worker.is_alive():
            logger.warning(
                "not all traces could be sent within %g s; the rest is lost", timeout_seconds
            )

    def _shut_down(self) -> None:
        if self._client is not None:
            self._client.shutdown()
        if self._provider is not None:
            self._provider.shutdown()


def make_tracing(settings: Settings, span_exporter: SpanExporter | None = None) -> Tracing:
    """
    Set up tracing as the settings want it, and say in one log line what it came to.

    The SDK keeps one client per public key and process: a second app with the same key in the
    same process would send its spans where the first one does. `span_exporter` takes the
    spans in place of the network.
    """
    if not settings.langfuse_enabled:
        logger.info("tracing is off: LANGFUSE_ENABLED is not true")
        return Tracing(None, None)
    if settings.langfuse_public_key is None or settings.langfuse_secret_key is None:
        logger.warning(
            "tracing is off: LANGFUSE_ENABLED is true, but LANGFUSE_PUBLIC_KEY or "
            "LANGFUSE_SECRET_KEY is missing"
        )
        return Tracing(None, None)
    resource = {LangfuseOtelSpanAttributes.ENVIRONMENT: settings.langfuse_environment}
    if settings.langfuse_release is not None:
        resource[LangfuseOtelSpanAttributes.RELEASE] = settings.langfuse_release
    provider = TracerProvider(
        resource=Resource.create({"service.name": "target-app", **resource}),
        # By trace id, not by the caller's flag: a trace is kept or dropped as a whole.
        sampler=TraceIdRatioBased(settings.langfuse_sample_rate),
        shutdown_on_exit=False,
    )
    client = Langfuse(
        public_key=settings.langfuse_public_key,
        secret_key=settings.langfuse_secret_key.get_secret_value(),
        base_url=settings.langfuse_host.rstrip("/"),
        environment=settings.langfuse_environment,
        release=settings.langfuse_release,
        flush_interval=settings.langfuse_flush_interval,
        tracer_provider=provider,
        span_exporter=span_exporter,
    )
    logger.info("tracing is on: sending to %s", settings.langfuse_host)
    return Tracing(client, provider)


def cut(text: str) -> str:
    """Cut a text to what may leave the process."""
    if len(text) <= CONTENT_CHARACTERS:
        return text
    return f"{text[:CONTENT_CHARACTERS]}... ({len(text)} characters)"


def cut_messages(messages: list[Message]) -> list[Message]:
    """Cut the content of every message."""
    return [
        message | {"content": cut(message["content"])} if message.get("content") else message
        for message in messages
    ]


def usage_details(usage: Usage) -> dict[str, int]:
    """Name tokens as Langfuse prices them: each token under one key, and all under total."""
    details = {"input": usage.input, "output": usage.output, "total": usage.total}
    if usage.cached_input:
        details["input_cached_tokens"] = usage.cached_input
    if usage.reasoning:
        details["output_reasoning_tokens"] = usage.reasoning
    return details


def _forwarded(context: TraceContext) -> Mapping[str, str]:
    if context.trace_id is None:
        return {}
    return {"traceparent": f"00-{context.trace_id}-{context.parent_span_id}-01"}
