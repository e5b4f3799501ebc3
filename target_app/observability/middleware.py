"""HTTP metrics, as pure ASGI middleware: it sees every byte and holds none back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from target_app.observability.metrics import Metrics
from target_app.observability.request_trace import CURRENT, RequestTrace
from target_app.observability.spans import Span

logger = logging.getLogger(__name__)

ABORTED = "aborted"

Begin = Callable[[RequestTrace], Span]
"""Begins the span of a request."""

_Children = tuple[Counter, Histogram, Histogram, Histogram]


class MetricsMiddleware:
    """
    Counts and times requests, and makes the `RequestTrace` that the app finds by `current()`.

    The clock stops when the last piece of the answer arrives here and before it is sent, so
    the time recorded can never be longer than the client's. A request whose answer never
    ends, because the client left or a stream broke, has the status "aborted".

    An exception that nothing else caught is logged with its trace, and answered. Once the answer
    has begun it is left to the server, which logs it and breaks the connection.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        exclude_paths: Collection[str],
        begin: Begin | None = None,
        failure: ASGIApp | None = None,
    ) -> None:
        """
        Wrap `app`; requests for exactly one of `exclude_paths` are left alone.

        With `begin` each request has a span, which ends with the answer. `failure` answers in
        place of an app that failed; without it the exception goes on to the server.
        """
        self._app = app
        self._exclude_paths = frozenset(exclude_paths)
        self._begin = begin
        self._failure = failure
        self._metrics = metrics
        # A number of its own, which costs next to nothing; the event loop alone changes it.
        self.in_flight = 0
        metrics.watch(metrics.http_in_flight, lambda: self.in_flight)
        # Finding a label takes longer than counting. Methods, routes and statuses are few.
        self.children: dict[tuple[str, str, str | int], _Children] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and record it."""
        if scope["type"] != "http" or scope["path"] in self._exclude_paths:
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        trace = RequestTrace(scope)
        token = CURRENT.set(trace)
        if self._begin is not None:
            span = self._begin(trace)
            trace.span = span if span.is_recording else None
        self.in_flight += 1
        exchange = _Exchange(self, started, trace, receive, send)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            if self._failure is None or exchange.status is not None:
                raise
            with bound_contextvars(session_id=trace.session_id):
                logger.exception("a request ended by an error that nothing caught")
            await self._failure(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            exchange.is_broken = True
            raise
        finally:
            if not exchange.is_recorded:
                # An exception before the answer began becomes a 500 further out.
                exchange.is_broken = exchange.is_broken or exchange.status is not None
                exchange.record()
        # Not after an exception: the server logs it in this task, and looks for the trace.
        CURRENT.reset(token)

    def make_children(self, method: str, route: str, status: str | int) -> _Children:
        """Answer the counter and the histograms that a request with these labels moves."""
        metrics = self._metrics
        children = self.children[method, route, status] = (
            metrics.http_requests.labels(method, route, str(status)),
            metrics.http_request_duration.labels(method, route),
            metrics.http_request_size.labels(method, route),
            metrics.http_response_size.labels(method, route),
        )
        return children


class _Exchange:
    """One request and its answer, while it lasts."""

    __slots__ = (
        "_middleware",
        "_receive",
        "_send",
        "_started",
        "_trace",
        "is_broken",
        "is_recorded",
        "request_bytes",
        "response_bytes",
        "status",
    )

    def __init__(
        self,
        middleware: MetricsMiddleware,
        started: float,
        trace: RequestTrace,
        receive: Receive,
        send: Send,
    ) -> None:
        self._middleware = middleware
        self._started = started
        self._trace = trace
        self._receive = receive
        self._send = send
        self.request_bytes = 0
        self.response_bytes = 0
        self.status: int | None = None
        self.is_recorded = False
        self.is_broken = False

    async def receive(self) -> Message:
        """Pass on what comes in."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.request_bytes += len(message.get("body", b""))
        elif message["type"] == "http.disconnect":
            self.is_broken = True
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on what goes out. Not a coroutine itself: it would cost as much as counting."""
        if message["type"] == "http.response.body":
            self.response_bytes += len(message.get("body", b""))
            if not (message.get("more_body", False) or self.is_recorded):
                self.record()
        elif message["type"] == "http.response.start":
            self.status = message["status"]
        return self._send(message)

    def record(self) -> None:
        """Stop the clock, and tell what became of the request."""
        duration = time.perf_counter() - self._started
        self.is_recorded = True
        self._middleware.in_flight -= 1
        trace = self._trace
        route = trace.route
        status = ABORTED if self.is_broken else self.status or 500
        # What answers HEAD has no body on the wire, whatever the route made.
        sent = 0 if trace.method == "HEAD" else self.response_bytes
        if trace.span is not None:
            self._end(trace.span, duration, route, status, sent)
        middleware = self._middleware
        key = (trace.method, route, status)
        children = middleware.children.get(key) or middleware.make_children(*key)
        requests, durations, request_sizes, response_sizes = children
        requests.inc()
        durations.observe(duration, {"trace_id": trace.trace_id} if trace.recorded else None)
        request_sizes.observe(self.request_bytes)
        response_sizes.observe(sent)

    def _end(self, span: Span, duration: float, route: str, status: str | int, sent: int) -> None:
        told = {
            "method": self._trace.method,
            "route": route,
            "status": status,
            "request_bytes": self.request_bytes,
            "response_bytes": sent,
            "duration_seconds": round(duration, 6),
        }
        if self._trace.session_id is not None:
            told["session_id"] = self._trace.session_id
        span.update(metadata=told)
        if status == ABORTED:
            span.fail("the answer did not come to its end")
        elif isinstance(status, int) and status >= 500:
            span.fail(f"status {status}")
        span.end()
