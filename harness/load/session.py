"""One load process's part in a run: its share, its clock of arrivals, and what it recorded."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.pool import Group

from harness.load import clock
from harness.load.arrivals import Arrivals, seconds
from harness.load.recorder import Recorder
from harness.load.window import OpenWindow
from harness.model import Sample

WARMUP = "warmup"
_SEED = 20_260_921
_IDLE_LIMIT_SECONDS = 90.0


class Session:
    """What the users of one process share; Locust's environment carries it."""

    def __init__(self, *, open_loop: bool = False, duration: str | None = None) -> None:
        """Start with nothing sent; `duration` replaces the one a scenario declares."""
        self.open_loop = open_loop
        self.share = (0, 1)
        self.run_id = ""
        self.recorder = Recorder()
        self.in_flight = 0
        self.stopping = False
        self._duration = duration
        self._warming = False
        self._warmed_up = 0
        self._draw = random.Random(_SEED)  # noqa: S311 - a choice of tasks, not a secret

    def label(self, scenario: str) -> str:
        """Name that the target's traces carry: warm-up requests are not the scenario's."""
        return WARMUP if self._warming else scenario

    def choose(self, tasks: Sequence[Any]) -> Any:
        """Draw the next task, by weight and seed."""
        return self._draw.choice(tasks)

    def record(self, sample: Sample) -> None:
        """Keep a request, unless it only warmed up."""
        if self._warming:
            self._warmed_up += 1
        else:
            self.recorder.record(sample)

    def wait_until_idle(self) -> bool:
        """Wait until no request is under way; False when that takes too long."""
        deadline = time.monotonic() + _IDLE_LIMIT_SECONDS
        while self.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.02)
        return not self.in_flight

    def run_schedule(
        self,
        arrivals: Arrivals,
        journey: Callable[[float], None],
        open_window: Callable[[], OpenWindow],
    ) -> None:
        """Warm up, open the window, start every journey when it is due, and wait for all."""
        self._warming = True
        self._send(list(arrivals.instants(seconds(arrivals.warmup), _SEED + 1)), journey)
        self._warming = False
        window = open_window()
        window.warmup_requests = self._warmed_up
        length = seconds(self._duration or arrivals.duration)
        offsets = list(arrivals.instants(length, _SEED))
        window.planned, window.scheduled_seconds = len(offsets), length
        window.begun = self._send(offsets, journey)

    def _send(self, offsets: Sequence[float], journey: Callable[[float], None]) -> int:
        """Start every journey when it is due and wait for all; gives how many began."""
        journeys = Group()
        begin, begun = clock.now(), 0
        for offset in offsets:
            gevent.sleep(max(0.0, begin + offset - clock.now()))
            if self.stopping:
                break
            journeys.spawn(journey, begin + offset)
            begun += 1
        journeys.join()
        return begun
