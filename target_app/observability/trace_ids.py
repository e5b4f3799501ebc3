"""The ids of traces and spans: the same in every sink and every log line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from random import getrandbits

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

_given: ContextVar[int | None] = ContextVar("given_trace_id", default=None)
_shared: ContextVar[int | None] = ContextVar("shared_span_id", default=None)


class TraceIds(RandomIdGenerator):
    """
    Makes random ids, but for those chosen before: inside of `given` and of `one_span_id`.

    The SDKs take a trace id only together with a parent span. A trace that begins here has none,
    and readers of traces would look for it.
    """

    def generate_trace_id(self) -> int:
        """Answer the id that was given, or a random one."""
        return _given.get() or super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Answer the id that all sinks share, or a random one."""
        return _shared.get() or super().generate_span_id()

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


@contextmanager
def one_span_id() -> Iterator[None]:
    """Have one id for the span that is begun in the block, wherever it is told."""
    token = _shared.set(_new_span_id())
    try:
        yield
    finally:
        _shared.reset(token)


def new_span_id() -> str:
    """Answer the id of a span that begins now: 16 hexadecimal digits."""
    return f"{_shared.get() or _new_span_id():016x}"


def _new_span_id() -> int:
    """Told apart within one trace, not kept secret; the system's own randomness costs more."""
    return getrandbits(64) or 1


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
