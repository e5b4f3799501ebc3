"""When sending is given up for a while, and what is said about it."""

from __future__ import annotations

import logging

import pytest
from pybreaker import CircuitBreaker, CircuitBreakerError

from target_app.observability.circuit import FAILURES, OPEN_SECONDS, make_circuit
from target_app.observability.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def circuit(clock: Clock, metrics: Metrics) -> CircuitBreaker:
    gauge = metrics.trace_circuit_open.labels("otlp")
    return make_circuit("http://there", gauge, lambda: "it answers with status 500", clock)


def is_open(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("trace_circuit_open", {"sink": "otlp"})


def fail(circuit: CircuitBreaker) -> type[Exception]:
    def failing() -> None:
        raise OSError

    with pytest.raises((OSError, CircuitBreakerError)) as caught:
        circuit.call(failing)
    return caught.type


def test_it_opens_after_three_failures_in_a_row(circuit: CircuitBreaker, metrics: Metrics) -> None:
    fail(circuit)
    fail(circuit)
    circuit.call(lambda: None)
    assert [fail(circuit) for _ in range(FAILURES)] == [OSError] * 3
    assert is_open(metrics) == 1

    assert fail(circuit) is CircuitBreakerError


def test_after_thirty_seconds_one_attempt_decides(
    circuit: CircuitBreaker, clock: Clock, metrics: Metrics
) -> None:
    for _ in range(FAILURES):
        fail(circuit)
    clock.now += OPEN_SECONDS - 0.5
    assert fail(circuit) is CircuitBreakerError

    clock.now += 1
    assert fail(circuit) is OSError
    assert fail(circuit) is CircuitBreakerError
    assert is_open(metrics) == 1

    clock.now += OPEN_SECONDS + 0.5
    circuit.call(lambda: None)
    circuit.call(lambda: None)
    assert is_open(metrics) == 0


def test_it_says_so_once_when_it_opens_and_once_when_it_closes(
    circuit: CircuitBreaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(FAILURES):
            fail(circuit)
        for _ in range(4):
            fail(circuit)
            clock.now += OPEN_SECONDS + 0.5
        circuit.call(lambda: None)

    assert caplog.messages == [
        (
            "http://there takes no traces (it answers with status 500): trying again every 30 s; "
            "traces until then are lost, and counted"
        ),
        "http://there takes traces again",
    ]
