"""
A circuit breaker before a server that takes traces.

After three failures in a row nothing is sent for 30 seconds; then one batch tries. A server that
is down then costs one attempt every 30 seconds, and two log lines: when it begins, when it ends.
Source: Nygard, Release It!, "Circuit Breaker"; the states are pybreaker's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from prometheus_client import Gauge
from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerListener,
    CircuitBreakerState,
    CircuitMemoryStorage,
)

logger = logging.getLogger(__name__)

FAILURES = 3
OPEN_SECONDS = 30.0

Clock = Callable[[], float]
"""Seconds from any beginning, never going back."""


class _Memory(CircuitMemoryStorage):
    """Remembers when the circuit opened, by a clock that nobody sets."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(STATE_CLOSED)
        self._clock = clock
        self._opened: float | None = None

    @property
    def opened_at(self) -> datetime | None:
        """When it opened, as the wall clock would have it now: the library compares with that."""
        if self._opened is None:
            return None
        return datetime.now(UTC) - timedelta(seconds=self._clock() - self._opened)

    @opened_at.setter
    def opened_at(self, _: datetime) -> None:
        self._opened = self._clock()


class _Announcer(CircuitBreakerListener):
    """Says in the log and in a metric when a circuit opens and when it closes."""

    def __init__(self, place: str, gauge: Gauge, why: Callable[[], str]) -> None:
        self._place = place
        self._gauge = gauge
        self._why = why

    def state_change(
        self,
        cb: CircuitBreaker,
        old_state: CircuitBreakerState | None,
        new_state: CircuitBreakerState,
    ) -> None:
        """Hear of a change; an attempt that fails again is no news."""
        before = "" if old_state is None else old_state.name
        if new_state.name == STATE_OPEN and before != STATE_HALF_OPEN:
            self._gauge.set(1)
            logger.warning(
                "%s takes no traces (%s): trying again every %g s; traces until then are lost, "
                "and counted",
                self._place,
                self._why(),
                cb.reset_timeout,
            )
        elif new_state.name == STATE_CLOSED:
            self._gauge.set(0)
            logger.warning("%s takes traces again", self._place)


def make_circuit(
    place: str, gauge: Gauge, why: Callable[[], str], clock: Clock = time.monotonic
) -> CircuitBreaker:
    """Make a closed circuit before `place`; `why` says how the last attempt failed."""
    return CircuitBreaker(
        fail_max=FAILURES,
        reset_timeout=OPEN_SECONDS,
        listeners=[_Announcer(place, gauge, why)],
        state_storage=_Memory(clock),
        # What failed is told as it is; that the circuit is open is told of the calls after it.
        throw_new_error_on_trip=False,
    )
