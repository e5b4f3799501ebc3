"""
One app against another: the same questions in the same order, in turns.

After each block there is a rest, until what the app sends in the background has been sent: the
processor time of a block has it, and the next block is not disturbed by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from closed_loop import Block
from estimates import Estimate, bootstrap
from figures import quantile
from interleaving import Side, turns
from open_loop import ask_at_rate
from processor_time import cpu_seconds
from servers import Server

Questions = Callable[[int], Sequence[bytes]]
"""Makes the requests of a pair of blocks."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One block: how long each request took, and CPU seconds of the app for one request."""

    latencies: Sequence[float]
    cpu_a_request: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two blocks with the same questions."""

    off: Measured
    on: Measured


@dataclass(frozen=True, slots=True)
class Pace:
    """How the blocks are sent: requests a second, and the seconds of rest after each block."""

    rate: float
    rest_seconds: float


async def compare(
    servers: Mapping[Side, Server], questions: Questions, pairs: int, pace: Pace
) -> list[Pair]:
    """Measure so many pairs of blocks."""
    measured: dict[tuple[int, Side], Measured] = {}
    for turn in turns(pairs):
        server, asked = servers[turn.side], questions(turn.pair)
        measured[turn.pair, turn.side] = await _measure(server, asked, pace)
    return [Pair(measured[pair, "off"], measured[pair, "on"]) for pair in range(pairs)]


async def _measure(server: Server, asked: Sequence[bytes], pace: Pace) -> Measured:
    before = cpu_seconds(server.process)
    block: Block = await ask_at_rate(server.port, asked, pace.rate)
    await asyncio.sleep(pace.rest_seconds)
    used = cpu_seconds(server.process) - before
    return Measured(block.latencies, used / len(asked))


def quantiles(pairs: Sequence[Pair], share: float) -> tuple[float, float]:
    """Give a quantile of the latency of both sides, all pairs together: off, then on."""
    off = [latency for pair in pairs for latency in pair.off.latencies]
    on = [latency for pair in pairs for latency in pair.on.latencies]
    return quantile(off, share), quantile(on, share)


def requests_a_side(pairs: Sequence[Pair]) -> int:
    """Count the requests that one side answered."""
    return sum(len(pair.on.latencies) for pair in pairs)


def added_latency(name: str, pairs: Sequence[Pair], share: float) -> dict[str, Estimate]:
    """Estimate what is added to a quantile of the latency: as a ratio, and in seconds."""

    def ratio(drawn: Sequence[Pair]) -> float:
        off, on = quantiles(drawn, share)
        return on / off - 1

    def difference(drawn: Sequence[Pair]) -> float:
        off, on = quantiles(drawn, share)
        return on - off

    count = requests_a_side(pairs)
    return {
        f"{name}_added": bootstrap(pairs, ratio, count=count, unit="ratio"),
        f"{name}_added_seconds": bootstrap(pairs, difference, count=count, unit="seconds"),
    }


def added_cpu(name: str, pairs: Sequence[Pair]) -> dict[str, Estimate]:
    """Estimate what is added to the processor time of a request: as a ratio, and in seconds."""

    def mean(drawn: Sequence[Measured]) -> float:
        return sum(block.cpu_a_request for block in drawn) / len(drawn)

    def means(drawn: Sequence[Pair]) -> tuple[float, float]:
        return mean([pair.off for pair in drawn]), mean([pair.on for pair in drawn])

    def ratio(drawn: Sequence[Pair]) -> float:
        off, on = means(drawn)
        return on / off - 1

    def difference(drawn: Sequence[Pair]) -> float:
        off, on = means(drawn)
        return on - off

    count = requests_a_side(pairs)
    return {
        f"{name}_added": bootstrap(pairs, ratio, count=count, unit="ratio"),
        f"{name}_added_seconds": bootstrap(pairs, difference, count=count, unit="seconds"),
    }
