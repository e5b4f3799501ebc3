"""HTTP metrics, as pure ASGI middleware: it sees every byte and holds none back."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from target_app.observability.metrics import Metrics

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(slots=True)
class _Exchange:
    """One request and its answer, while it lasts."""

    started: float
    request_bytes: int = 0
    response_bytes: int = 0
    status: str = "500"
    began: bool = False
    recorded: bool = False
    disconnected: bool = False


class MetricsMiddleware:
    """
    Counts and times requests.

    The clock stops when the last piece of the answer arrives here and before it is sent, so
    the time recorded can never be longer than the client's. A request whose answer never
    ends, because the client left or a stream broke, has the status "aborted".
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, exclude_paths: Collection[str]) -> None:
        """Wrap `app`; requests for exactly one of `exclude_paths` are not recorded."""
        self._app = app
        self._metrics = metrics
        self._exclude_paths = frozenset(exclude_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and record it."""
        if scope["type"] != "http" or scope["path"] in self._exclude_paths:
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(time.perf_counter())

        async def counted_receive() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                exchange.request_bytes += len(message.get("body", b""))
            elif message["type"] == "http.disconnect":
                exchange.disconnected = True
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.began = True
                exchange.status = str(message["status"])
            elif message["type"] == "http.response.body":
                exchange.response_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    self._record(scope, exchange)
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            # An exception before the answer began becomes a 500 further out.
            if not exchange.recorded:
                exchange.disconnected = exchange.disconnected or exchange.began
                self._record(scope, exchange)

    def _record(self, scope: Scope, exchange: _Exchange) -> None:
        duration = time.perf_counter() - exchange.started
        exchange.recorded = True
        method = scope["method"] if scope["method"] in METHODS else "other"
        endpoint = getattr(scope.get("route"), "path", "unmatched")
        status = "aborted" if exchange.disconnected else exchange.status
        self._metrics.http_requests.labels(method, endpoint, status).inc()
        self._metrics.http_request_duration.labels(method, endpoint).observe(duration)
        self._metrics.http_request_size.labels(method, endpoint).observe(exchange.request_bytes)
        self._metrics.http_response_size.labels(method, endpoint).observe(exchange.response_bytes)
