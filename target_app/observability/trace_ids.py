"""The ids of traces: the request's own, so that every sink and every log line has the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

_given: ContextVar[int | None] = ContextVar("given_trace_id", default=None)


class TraceIds(RandomIdGenerator):
    """
    Makes random ids, but for a trace whose id was chosen before: inside of `given`.

    The SDKs take a trace id only together with a parent span. A trace that begins here has none,
    and readers of traces would look for it.
    """

    def generate_trace_id(self) -> int:
        """Answer the id that was given, or a random one."""
        return _given.get() or super().generate_trace_id()

    def is_trace_id_random(self) -> bool:
        """Answer no: a caller's id may be anything."""
        return False


@contextmanager
def given(trace_id: str) -> Iterator[None]:
    """Begin traces with this id, 32 hexadecimal digits, until the block ends."""
    token = _given.set(int(trace_id, 16))
    try:
        yield
    finally:
        _given.reset(token)


def context_of(trace_id: str, parent_span_id: str | None) -> Context:
    """
    Answer the context of a span elsewhere, or one without any span.

    It is never the current one: what another library traces is not above the app's spans.
    """
    if parent_span_id is None:
        return Context()
    parent = SpanContext(
        int(trace_id, 16),
        int(parent_span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
