"""A soak is summed up by the minute."""

from __future__ import annotations

import pytest

from benchmarks.soak import Minute, figures_of, minutes_of, slope
from harness.model import GeneratorSecond, Outcome, Sample

BEGIN = 1_000_000.0
MIB = 2**20


def second(at: float, memory_bytes: int, process: int = 0) -> GeneratorSecond:
    return GeneratorSecond(
        process, BEGIN + at, 100, 1, 0.001, 0.001, 0.1, 0.1, 5, 0.0, memory_bytes
    )


def sample(intended: float, late: float) -> Sample:
    start = BEGIN + intended + late
    return Sample("evenly", "chat", "", BEGIN + intended, start, start + 0.01, Outcome.OK)


def minute(memory_bytes: float, lateness: float) -> Minute:
    return Minute(int(memory_bytes), lateness, 3 * lateness, 9 * lateness, 6000)


def test_each_minute_has_its_own_memory_and_lateness() -> None:
    seconds = [second(at, 50 * MIB if at < 60 else 60 * MIB) for at in range(1, 121)]
    samples = [sample(at, 0.25 if at == 59 else 0.125) for at in range(120)]

    first, last = minutes_of(seconds, samples)

    assert (first.memory_bytes, last.memory_bytes) == (50 * MIB, 60 * MIB)
    assert (first.lateness_p50, first.lateness_p99, first.lateness_max) == (0.125, 0.25, 0.25)
    assert (last.lateness_p50, last.lateness_max) == (0.125, 0.125)
    assert (first.requests, last.requests) == (60, 60)


def test_the_memory_of_all_load_processes_counts() -> None:
    seconds = [second(at, 50 * MIB, process) for at in (1, 2, 3) for process in (0, 1)]

    (only,) = minutes_of(seconds, [sample(0.0, 0.0)])

    assert only.memory_bytes == 100 * MIB


def test_growth_is_told_after_the_first_two_minutes() -> None:
    minutes = [minute(10 * MIB, 0.001), minute(30 * MIB, 0.001)]
    minutes += [minute(40 * MIB + number * 8 * 1024, 0.001) for number in range(8)]

    figures = figures_of(minutes)

    assert figures["memory_slope_kib"] == pytest.approx(8)
    assert figures["memory_growth"] == pytest.approx(7 * 8 / (40 * 1024))
    assert figures["lateness_drift_seconds"] == pytest.approx(0)
    assert figures["minutes"] == 10


def test_lateness_that_grows_is_a_drift_over_the_whole_soak() -> None:
    figures = figures_of([minute(MIB, 0.001 * number) for number in range(12)])

    # Of the ten settled minutes: 2 ms to 11 ms.
    assert figures["lateness_drift_seconds"] == pytest.approx(0.009)
    assert figures["lateness_p99_drift_seconds"] == pytest.approx(0.027)
    assert figures["lateness_max_seconds"] == pytest.approx(0.099)


def test_a_single_minute_has_no_slope() -> None:
    assert slope([5.0]) == 0
    assert figures_of([minute(MIB, 0.001)])["memory_slope_kib"] == 0
