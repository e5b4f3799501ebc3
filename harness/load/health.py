"""
What a load process notes of itself each second: whether it could send as it meant to.

Everything here is cheap, since whatever it costs is taken from the load: a few
thousandths of a core when idle, less when busy. What the figures mean is decided
in harness/judge/generator.py.
"""

from __future__ import annotations

import gc
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import gevent
import psutil

from harness.load import clock
from harness.model import GeneratorSecond

# How often the timer of the loop should go off. Whatever keeps the loop busy for longer is seen.
_TICK_SECONDS = 0.02
_OPEN_FILES = "/dev/fd"
_IDLE = ("idle", "iowait")
# The kernel counts a guest's time twice.
_COUNTED_ELSEWHERE = ("guest", "guest_nice")


class Health:
    """One load process's figures on itself, second by second, from `begin` to `end`."""

    def __init__(self, process: int) -> None:
        """Nothing is measured before `begin`; `process` counts the load processes from 0."""
        self._process = process
        self._itself = psutil.Process()
        self._seconds: list[GeneratorSecond] = []
        self._begun = 0
        self._lateness: float | None = None
        self._loop_lag = 0.0
        self._gc_seconds = 0.0
        self._gc_began = 0.0
        self._timer: Any = None
        self._due = 0.0
        self._files = 0
        self._since = 0.0
        self._cpu_seconds = 0.0
        self._machine = (0.0, 0.0)

    def begin(self) -> None:
        """Begin the first second, and measure the loop and the garbage collector from now on."""
        self.end()
        self._seconds = []
        self._forget()
        self._since = time.perf_counter()
        self._cpu_seconds = time.process_time()
        self._machine = _machine()
        self._files = sum(not _is_socket(name) for name in _open_files())
        # A watcher of the loop itself: half the price of a greenlet that sleeps.
        self._timer = gevent.get_hub().loop.timer(_TICK_SECONDS, _TICK_SECONDS, ref=False)
        self._timer.start(self._tick, update=True)
        self._due = time.perf_counter() + _TICK_SECONDS
        gc.callbacks.append(self._collecting)

    def end(self) -> None:
        """Stop measuring; what was noted so far can still be taken."""
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
        with suppress(ValueError):
            gc.callbacks.remove(self._collecting)

    def late(self, lateness: float) -> None:
        """Note that a journey began this many seconds after it was due."""
        self._begun += 1
        if self._lateness is None or lateness > self._lateness:
            self._lateness = lateness

    def second(self, in_flight: int) -> GeneratorSecond:
        """End a second (or however long it was since the last one), and begin the next."""
        now = time.perf_counter()
        cpu_seconds, machine = time.process_time(), _machine()
        elapsed = max(now - self._since, 1e-9)
        busy, counted = (new - old for new, old in zip(machine, self._machine, strict=True))
        noted = GeneratorSecond(
            process=self._process,
            at=round(clock.now(), 3),
            begun=self._begun,
            in_flight=in_flight,
            lateness=None if self._lateness is None else round(self._lateness, 6),
            # A timer that is still overdue is late already.
            loop_lag=round(max(self._loop_lag, now - self._due, 0.0), 6),
            cpu_share=round((cpu_seconds - self._cpu_seconds) / elapsed, 4),
            machine_cpu_share=round(min(1.0, busy / counted), 4) if counted > 0 else 0.0,
            sockets=max(0, len(_open_files()) - self._files),
            gc_seconds=round(self._gc_seconds, 6),
            memory_bytes=int(self._itself.memory_info().rss),
        )
        self._since, self._cpu_seconds, self._machine = now, cpu_seconds, machine
        self._forget()
        self._seconds.append(noted)
        return noted

    def take(self) -> list[GeneratorSecond]:
        """Hand over the seconds that were not handed over before."""
        taken, self._seconds = self._seconds, []
        return taken

    def _forget(self) -> None:
        self._begun, self._lateness, self._loop_lag, self._gc_seconds = 0, None, 0.0, 0.0

    def _tick(self) -> None:
        now = time.perf_counter()
        self._loop_lag = max(self._loop_lag, now - self._due)
        # As the loop itself does it: a tick that was late does not delay the next one.
        self._due = max(self._due + _TICK_SECONDS, now)

    def _collecting(self, phase: str, info: Mapping[str, Any]) -> None:
        del info
        if phase == "start":
            self._gc_began = time.perf_counter()
        elif self._gc_began:
            self._gc_seconds += time.perf_counter() - self._gc_began
            self._gc_began = 0.0


def _machine() -> tuple[float, float]:
    """CPU seconds of the whole machine since it was started: busy ones, and all."""
    times = psutil.cpu_times()._asdict()
    counted = sum(s for name, s in times.items() if name not in _COUNTED_ELSEWHERE)
    return counted - sum(times.get(name, 0.0) for name in _IDLE), counted


def _open_files() -> list[str]:
    return os.listdir(_OPEN_FILES)  # noqa: PTH208 - a Path for each costs more than the listing


def _is_socket(name: str) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(int(name)).st_mode)
    except OSError:
        return False  # that is how the folder itself was read
