"""What the middleware records of requests that end well, badly, late or never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from target_app.observability import middleware
from target_app.observability.metrics import Metrics
from target_app.observability.middleware import MetricsMiddleware

pytestmark = pytest.mark.anyio

BODY = "http.response.body"


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
