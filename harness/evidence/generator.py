"""What the load processes noted of themselves in one window, summed up for the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.model import GeneratorSecond, Window

_POINTS = 120
# A load process whose clock is further off than this has the window's beginning for its own.
_CLOCKS_APART_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ProcessView:
    """One load process over a whole window; times in seconds, shares of one core."""

    process: int
    seconds: int
    begun: int
    lateness: float | None
    loop_lag_p99: float
    cpu_mean: float
    cpu_most: float
    sockets: int
    in_flight: int
    gc_seconds: float
    memory_first: int
    memory_last: int


@dataclass(frozen=True, slots=True)
class Moment:
    """
    The worst of all load processes in a piece of a window that ends `at` seconds into it.

    `cpu` is of each process, in the order of their numbers, None for one that
    said nothing then; `machine` is of all cores of the busiest machine.
    """

    at: float
    lateness: float | None
    loop_lag: float
    machine: float
    cpu: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class GeneratorView:
    """All load processes of a window, and at most 120 pieces of it, each `piece` seconds long."""

    processes: tuple[ProcessView, ...]
    piece: float
    moments: tuple[Moment, ...]


def generator_view(seconds: Sequence[GeneratorSecond], window: Window) -> GeneratorView:
    """Sum up what load processes noted of a window; empty when they noted nothing."""
    by_process: dict[int, list[GeneratorSecond]] = {}
    for second in sorted(seconds, key=lambda s: (s.process, s.at)):
        by_process.setdefault(second.process, []).append(second)
    offsets = [
        (offset, second)
        for own in by_process.values()
        for offset, second in _offsets(own, window.start)
    ]
    last = max((offset for offset, _ in offsets), default=0.0)
    piece = float(max(1, math.ceil(last / _POINTS)))
    pieces: dict[int, list[GeneratorSecond]] = {}
    for offset, second in offsets:
        pieces.setdefault(max(1, math.ceil(offset / piece)), []).append(second)
    return GeneratorView(
        tuple(_process(own) for own in by_process.values()),
        piece,
        tuple(_moment(n * piece, pieces[n], list(by_process)) for n in sorted(pieces)),
    )


def _offsets(
    own: Sequence[GeneratorSecond], start: float
) -> Iterable[tuple[float, GeneratorSecond]]:
    """How long after the window's beginning each second ended, by a clock that may be off."""
    first = own[0].at - start
    shift = 0.0 if -1.0 <= first <= _CLOCKS_APART_SECONDS else first - 1.0
    return ((second.at - start - shift, second) for second in own)


def _process(own: Sequence[GeneratorSecond]) -> ProcessView:
    lags = sorted(s.loop_lag for s in own)
    return ProcessView(
        process=own[0].process,
        seconds=len(own),
        begun=sum(s.begun for s in own),
        lateness=_largest(s.lateness for s in own),
        loop_lag_p99=lags[math.ceil(0.99 * len(lags)) - 1],
        cpu_mean=sum(s.cpu_share for s in own) / len(own),
        cpu_most=max(s.cpu_share for s in own),
        sockets=max(s.sockets for s in own),
        in_flight=max(s.in_flight for s in own),
        gc_seconds=sum(s.gc_seconds for s in own),
        memory_first=own[0].memory_bytes,
        memory_last=own[-1].memory_bytes,
    )


def _moment(at: float, seconds: Sequence[GeneratorSecond], processes: Sequence[int]) -> Moment:
    def cpu(process: int) -> float | None:
        return _largest(s.cpu_share for s in seconds if s.process == process)

    return Moment(
        at=at,
        lateness=_largest(s.lateness for s in seconds),
        loop_lag=max(s.loop_lag for s in seconds),
        machine=max(s.machine_cpu_share for s in seconds),
        cpu=tuple(map(cpu, processes)),
    )


def _largest(values: Iterable[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)
