"""The trace of the request that is being served, wherever in the app one asks for it."""

from __future__ import annotations

from contextvars import ContextVar
from random import getrandbits
from typing import TYPE_CHECKING

from starlette.types import Scope

from target_app.observability.trace_context import TraceContext, parse_trace_context

if TYPE_CHECKING:
    from target_app.observability.spans import Span

UNMATCHED = "unmatched"
"""The route of a request that no route is for: raw paths are never told."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"


class RequestTrace:
    """
    One request, and the trace that is told of it.

    `recorded` turns true once something with this trace id leaves the process: only then is the
    id worth showing. `span` is of the whole request, where there is one, and `session_id` of its
    chat, if it has one. The headers are read when somebody asks what they say, because most
    requests are only counted.
    """

    __slots__ = ("_context", "_scope", "_trace_id", "method", "recorded", "session_id", "span")

    def __init__(self, scope: Scope | None = None, context: TraceContext | None = None) -> None:
        """Be of the request of an ASGI scope, or of none, as the caller wants it traced."""
        self._scope = {} if scope is None else scope
        self._context = context
        self._trace_id: str | None = None
        method = self._scope.get("method", "")
        self.method: str = method if method in METHODS else OTHER_METHOD
        self.recorded = False
        self.session_id: str | None = None
        self.span: Span | None = None

    @property
    def context(self) -> TraceContext:
        """What the caller said."""
        if self._context is None:
            headers = dict(self._scope.get("headers", ()))
            self._context = parse_trace_context(
                headers.get(b"traceparent", b"").decode("latin-1"),
                headers.get(b"baggage", b"").decode("latin-1"),
            )
        return self._context

    @property
    def trace_id(self) -> str:
        """The caller's id, or a new one: 32 hexadecimal digits."""
        if self._trace_id is None:
            self._trace_id = self.context.trace_id or new_trace_id()
        return self._trace_id

    @property
    def route(self) -> str:
        """The template of the route, once one was found; never the path itself."""
        return getattr(self._scope.get("route"), "path", UNMATCHED)


CURRENT: ContextVar[RequestTrace | None] = ContextVar("request_trace", default=None)
"""Copied into the tasks and threads that serve the request."""


def current() -> RequestTrace | None:
    """Answer the request that is being served here, if any."""
    return CURRENT.get()


def current_exemplar() -> str | None:
    """Answer the trace id of the request that is being served, if it can be looked up."""
    trace = CURRENT.get()
    return trace.trace_id if trace is not None and trace.recorded else None


def new_trace(context: TraceContext | None = None) -> RequestTrace:
    """Begin a trace where there is no request, with the caller's id or with a new one."""
    return RequestTrace(context=context or TraceContext())


def new_trace_id() -> str:
    """Make a trace id: 32 hexadecimal digits at random. It is no secret, but read by samplers."""
    return f"{getrandbits(128):032x}"
