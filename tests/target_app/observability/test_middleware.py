"""What the middleware records of requests that end well, badly, late or never."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from target_app.observability import middleware
from target_app.observability.metrics import Metrics
from target_app.observability.middleware import MetricsMiddleware
from target_app.observability.request_trace import RequestTrace, current
from target_app.observability.spans import Details, Span, Telling

pytestmark = pytest.mark.anyio

BODY = "http.response.body"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Clock:
    """Stands in for the module `time`; it goes on only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(middleware, "time", clock)
    return clock


class Route:
    path = "/things/{id}"


async def exchange(
    app: Any,
    *,
    received: list[dict[str, Any]] | None = None,
    on_send: Callable[[], None] | None = None,
    **scope: Any,
) -> CollectorRegistry:
    messages = received or [{"type": "http.request", "body": b"12345"}]
    metrics = Metrics()

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(_: Any) -> None:
        if on_send is not None:
            on_send()

    scope = {"type": "http", "path": "/things/7", "method": "POST", "route": Route(), **scope}
    await MetricsMiddleware(app, metrics, ["/health"])(scope, receive, send)
    return metrics.registry


def recorded(registry: CollectorRegistry) -> dict[str, float]:
    return {
        f"{sample.labels['method']} {sample.labels['endpoint']} {sample.labels['status']}": (
            sample.value
        )
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "http_requests_total"
    }


def total(registry: CollectorRegistry, name: str, endpoint: str = Route.path) -> float | None:
    return registry.get_sample_value(f"{name}_sum", {"method": "POST", "endpoint": endpoint})


async def test_a_streamed_answer_is_timed_to_its_last_piece_and_no_further(clock: Clock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        clock.now += 1
        await send({"type": "http.response.start", "status": 200})
        for _ in range(3):
            clock.now += 2
            await send({"type": BODY, "body": b"abc", "more_body": True})
        clock.now += 4
        await send({"type": BODY, "body": b"", "more_body": False})
        clock.now += 1000  # work after the answer

    registry = await exchange(app)

    assert recorded(registry) == {"POST /things/{id} 200": 1}
    assert total(registry, "http_request_duration_seconds") == 11
    assert total(registry, "http_request_size_bytes") == 5
    assert total(registry, "http_response_size_bytes") == 9


async def test_a_client_that_takes_its_time_is_not_the_servers_time(clock: Clock) -> None:
    def slow_client() -> None:
        clock.now += 50

    async def app(scope: Any, receive: Any, send: Any) -> None:
        clock.now += 1
        await send({"type": BODY, "body": b"all"})

    registry = await exchange(app, on_send=slow_client)

    assert total(registry, "http_request_duration_seconds") == 1


async def test_a_request_is_counted_before_its_answer_can_be_seen() -> None:
    counts: list[dict[str, float]] = []
    metrics = Metrics()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": BODY})

    async def send(message: Any) -> None:
        counts.append(recorded(metrics.registry))

    scope = {"type": "http", "path": "/x", "method": "GET"}
    await MetricsMiddleware(app, metrics, [])(scope, None, send)  # type: ignore[arg-type]

    assert counts == [{}, {"GET unmatched 204": 1}]


async def test_a_stream_that_breaks_is_aborted(clock: Clock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": BODY, "body": b"abc", "more_body": True})
        clock.now += 3
        raise RuntimeError

    metrics = Metrics()

    async def send(_: Any) -> None:
        pass

    scope = {"type": "http", "path": "/things/7", "method": "POST", "route": Route()}
    with pytest.raises(RuntimeError):
        await MetricsMiddleware(app, metrics, [])(scope, None, send)  # type: ignore[arg-type]

    assert recorded(metrics.registry) == {"POST /things/{id} aborted": 1}
    assert total(metrics.registry, "http_request_duration_seconds") == 3


async def test_an_app_that_fails_before_it_answers_is_a_500() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    metrics = Metrics()
    scope = {"type": "http", "path": "/x", "method": "POST", "route": Route()}
    with pytest.raises(RuntimeError):
        await MetricsMiddleware(app, metrics, [])(scope, None, None)  # type: ignore[arg-type]

    assert recorded(metrics.registry) == {"POST /things/{id} 500": 1}


async def test_a_failure_is_answered_and_measured_in_place_of_the_app(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        clock.now += 1
        raise RuntimeError("no such luck")

    async def failure(scope: Any, receive: Any, send: Any) -> None:
        clock.now += 2
        await send({"type": "http.response.start", "status": 500})
        await send({"type": BODY, "body": b"sorry"})

    metrics = Metrics()
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "http", "path": "/x", "method": "POST", "route": Route()}
    await MetricsMiddleware(app, metrics, [], failure=failure)(scope, None, send)  # type: ignore[arg-type]

    assert sent == ["http.response.start", BODY]
    assert recorded(metrics.registry) == {"POST /things/{id} 500": 1}
    assert total(metrics.registry, "http_response_size_bytes") == 5
    assert total(metrics.registry, "http_request_duration_seconds") == 3
    (line,) = caplog.records
    assert line.exc_info is not None
    assert str(line.exc_info[1]) == "no such luck"


async def test_once_the_answer_began_a_failure_is_left_to_the_server_with_its_trace() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise RuntimeError

    async def failure(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("two answers")

    async def send(_: Any) -> None:
        pass

    scope = {
        "type": "http", "path": "/x", "method": "POST",
        "headers": [(b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())],
    }  # fmt: skip
    metrics = Metrics()

    async def server() -> str | None:
        with pytest.raises(RuntimeError):
            await MetricsMiddleware(app, metrics, [], failure=failure)(scope, None, send)  # type: ignore[arg-type]
        trace = current()
        return trace and trace.trace_id

    # A server has a task for each request, and logs in it.
    assert await asyncio.create_task(server()) == TRACE
    assert recorded(metrics.registry) == {"POST unmatched aborted": 1}


async def test_a_client_that_leaves_is_aborted_even_if_the_app_still_answers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()
        await send({"type": "http.response.start", "status": 499})
        await send({"type": BODY})

    received = [{"type": "http.request"}, {"type": "http.disconnect"}]

    assert recorded(await exchange(app, received=received)) == {"POST /things/{id} aborted": 1}


@pytest.mark.parametrize(
    ("scope", "counted"),
    [
        pytest.param({"route": None}, {"POST unmatched 200": 1}, id="no route, no raw path"),
        pytest.param({"method": "BREW"}, {"other /things/{id} 200": 1}, id="a made-up method"),
        pytest.param({"path": "/health"}, {}, id="an excluded path"),
        pytest.param({"type": "lifespan"}, {}, id="no request at all"),
    ],
)
async def test_labels_are_few(scope: dict[str, Any], counted: dict[str, float]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": BODY})

    assert recorded(await exchange(app, **scope)) == counted


async def test_what_answers_head_has_no_body_whatever_the_route_made() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": BODY, "body": b"abc"})

    registry = await exchange(app, method="HEAD")

    labels = {"method": "HEAD", "endpoint": Route.path}
    assert registry.get_sample_value("http_response_size_bytes_sum", labels) == 0
    assert registry.get_sample_value("http_response_size_bytes_count", labels) == 1


async def test_an_answer_without_a_body_is_counted_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 304})
        await send({"type": BODY, "body": b"", "more_body": False})
        await send({"type": BODY})

    assert recorded(await exchange(app)) == {"POST /things/{id} 304": 1}


async def test_a_request_that_a_stopping_server_gives_up_is_aborted() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    metrics = Metrics()
    scope = {"type": "http", "path": "/x", "method": "POST", "route": Route()}
    with pytest.raises(asyncio.CancelledError):
        await MetricsMiddleware(app, metrics, [])(scope, None, None)  # type: ignore[arg-type]

    assert recorded(metrics.registry) == {"POST /things/{id} aborted": 1}


async def test_requests_are_in_flight_until_their_answer_has_ended() -> None:
    metrics = Metrics()
    seen: list[float | None] = []

    def look() -> None:
        metrics.refresh()
        seen.append(metrics.registry.get_sample_value("http_requests_in_flight"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        look()
        await send({"type": "http.response.start", "status": 200})
        if scope["path"] == "/outer":
            await middleware_({**scope, "path": "/inner"}, None, quiet)  # type: ignore[arg-type]
            look()
        await send({"type": BODY})
        look()

    async def quiet(_: Any) -> None:
        pass

    middleware_ = MetricsMiddleware(app, metrics, [])
    scope = {"type": "http", "path": "/outer", "method": "POST"}
    await middleware_(scope, None, quiet)  # type: ignore[arg-type]

    # The outer begun, the inner begun, and ended; back in the outer, and ended.
    assert seen == [1, 2, 1, 1, 0]


@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "not recorded"])
async def test_the_trace_is_an_exemplar_if_it_was_recorded(*, is_recorded: bool) -> None:
    traces: list[RequestTrace] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        trace = current()
        assert trace is not None
        traces.append(trace)
        trace.recorded = is_recorded
        await send({"type": "http.response.start", "status": 200})
        await send({"type": BODY})

    traceparent = f"00-{TRACE}-b7ad6b7169203331-01".encode()
    registry = await exchange(app, headers=[(b"traceparent", traceparent)])

    exemplars = {
        sample.name: sample.exemplar.labels
        for family in registry.collect()
        for sample in family.samples
        if sample.exemplar is not None
    }
    expected = {"http_request_duration_seconds_bucket": {"trace_id": TRACE}}
    assert exemplars == (expected if is_recorded else {})
    assert (traces[0].trace_id, traces[0].route) == (TRACE, Route.path)
    assert current() is None, "nothing of a request is left behind"


@dataclass
class ToldSpan:
    """Where a span is told to; it remembers."""

    told: list[object]
    trace_id: str = TRACE
    span_id: str = "b7ad6b7169203331"

    def update(self, details: Details) -> None:
        self.told.append(details["metadata"])

    def fail(self, reason: str) -> None:
        self.told.append(reason)

    def end(self) -> None:
        self.told.append("end")


class Open:
    """Redacts nothing."""

    def text(self, text: str) -> str:
        return text

    def value(self, value: Any) -> Any:
        return value


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        pytest.param(200, [], id="good"),
        pytest.param(404, [], id="the client's fault"),
        pytest.param(503, ["status 503"], id="the server's fault"),
        pytest.param(None, ["the answer did not come to its end"], id="a broken stream"),
    ],
)
async def test_a_span_of_the_request_ends_with_what_became_of_it(
    clock: Clock, status: int | None, failure: list[str]
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        clock.now += 2
        await send({"type": "http.response.start", "status": status or 200})
        await send({"type": BODY, "body": b"abc", "more_body": status is None})

    told: list[object] = []
    ended_before_it_was_sent: list[bool] = []
    begun: list[RequestTrace] = []

    def begin(trace: RequestTrace) -> Span:
        begun.append(trace)
        return Span([ToldSpan(told)], Telling(Open(), lambda _: None))  # type: ignore[list-item]

    async def receive() -> Any:
        return {"type": "http.request", "body": b"12345"}

    async def send(message: Any) -> None:
        if message["type"] == BODY:
            ended_before_it_was_sent.append(told[-1:] == ["end"])

    scope = {"type": "http", "path": "/things/7", "method": "POST", "route": Route()}
    await MetricsMiddleware(app, Metrics(), ["/things/7"], begin)(scope, receive, send)
    await MetricsMiddleware(app, Metrics(), ["/health"], begin)(scope, receive, send)

    assert len(begun) == 1, "an excluded path has no span"
    assert ended_before_it_was_sent == [False, status is not None]
    assert told == [
        {
            "method": "POST",
            "route": "/things/{id}",
            "status": status or "aborted",
            "request_bytes": 5,
            "response_bytes": 3,
            "duration_seconds": 2,
        },
        *failure,
        "end",
    ]


async def test_a_span_that_goes_nowhere_is_not_kept() -> None:
    spans: list[Span | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        trace = current()
        assert trace is not None
        spans.append(trace.span)

    scope = {"type": "http", "path": "/x", "method": "POST"}
    await MetricsMiddleware(app, Metrics(), [], lambda _: Span())(scope, None, None)  # type: ignore[arg-type]

    assert spans == [None]
