"""
A long load at a steady rate: whether its memory stays flat, and whether it stays in time.

    python benchmarks/soak.py [--minutes 10] [--rate 100] [--json]

The target answers at once. What the load process says of itself each second is in the run's
generator.jsonl, the lateness of each request in its rows. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import (
    Figures,
    Target,
    print_json,
    print_machine,
    print_table,
    print_targets,
    quantile,
)
from load_runs import EVENLY_RATE, run_load, scripted_target

from harness.model import GeneratorSecond, Sample

MINUTE = 60.0
SETTLED_MINUTES = 2
"""By then everything that has a bound has reached it."""

TARGETS = (
    Target("memory_growth", at_most=0.01),
    Target("lateness_drift_seconds", at_most=0.001),
    Target("sent_ratio", at_least=0.999),
)


@dataclass(frozen=True, slots=True)
class Minute:
    """What one minute was like: memory at its end, and how late requests were sent."""

    memory_bytes: int
    lateness_p50: float
    lateness_p99: float
    lateness_max: float
    requests: int


def minutes_of(seconds: Sequence[GeneratorSecond], samples: Sequence[Sample]) -> list[Minute]:
    """
    Sum up each minute from the first intended start on; the last may be short.

    Memory is the median of its last ten seconds, all load processes together.
    """
    begin = min(sample.intended_start for sample in samples)
    told: dict[int, dict[int, list[int]]] = {}
    for second in seconds:
        minute = int((second.at - begin) // MINUTE)
        told.setdefault(minute, {}).setdefault(second.process, []).append(second.memory_bytes)
    late: dict[int, list[float]] = {}
    for sample in samples:
        minute = int((sample.intended_start - begin) // MINUTE)
        late.setdefault(minute, []).append(sample.lateness)
    return [
        Minute(
            sum(round(statistics.median(memory[-10:])) for memory in told[minute].values()),
            quantile(late[minute], 0.5),
            quantile(late[minute], 0.99),
            max(late[minute]),
            len(late[minute]),
        )
        for minute in sorted(told.keys() & late.keys())
    ]


def settled(minutes: Sequence[Minute]) -> Sequence[Minute]:
    """Leave out the first minutes, unless that leaves too few for a line."""
    return minutes[SETTLED_MINUTES:] if len(minutes) > SETTLED_MINUTES + 1 else minutes


def slope(values: Sequence[float]) -> float:
    """Give the slope of the line through values at even distances; 0 for fewer than two."""
    if len(values) < 2:
        return 0.0
    return statistics.linear_regression(range(len(values)), values).slope


def figures_of(minutes: Sequence[Minute]) -> Figures:
    """
    Tell growth and drift: slopes of lines through the settled minutes.

    `memory_growth` is the share by which memory grew over all of them, the drift that of the
    median lateness.
    """
    used = settled(minutes)
    bytes_a_minute = slope([minute.memory_bytes for minute in used])
    return {
        "minutes": float(len(minutes)),
        "memory_bytes": float(minutes[-1].memory_bytes),
        "memory_slope_kib": bytes_a_minute / 1024,
        "memory_growth": bytes_a_minute * (len(used) - 1) / used[0].memory_bytes,
        "lateness_p50_seconds": statistics.median(minute.lateness_p50 for minute in used),
        "lateness_p99_seconds": statistics.median(minute.lateness_p99 for minute in used),
        "lateness_max_seconds": max(minute.lateness_max for minute in used),
        "lateness_drift_seconds": slope([m.lateness_p50 for m in used]) * (len(used) - 1),
        "lateness_p99_drift_seconds": slope([m.lateness_p99 for m in used]) * (len(used) - 1),
    }


def main() -> None:
    """Run, and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as made, scripted_target("instant") as target:
        run = run_load(
            "evenly",
            target,
            Path(made),
            options.minutes * MINUTE,
            environment={EVENLY_RATE: str(options.rate)},
        )
        seconds = run.directory.read_generator(run.window.window.name)
        minutes = minutes_of(seconds, run.samples)
        planned = run.window.planned or 0
    figures = {**figures_of(minutes), "sent_ratio": run.window.requests / planned}
    if options.json:
        print_json(figures)
        return
    print_machine({})
    print_table(
        f"{planned} requests planned, minute by minute",
        ("minute", "requests", "memory MiB", "lateness p50 ms", "p99 ms", "max ms"),
        [
            (
                str(number),
                str(minute.requests),
                f"{minute.memory_bytes / 2**20:.2f}",
                f"{minute.lateness_p50 * 1e3:.2f}",
                f"{minute.lateness_p99 * 1e3:.2f}",
                f"{minute.lateness_max * 1e3:.1f}",
            )
            for number, minute in enumerate(minutes, 1)
        ],
    )
    print(f"memory grows by {figures['memory_slope_kib']:.1f} KiB a minute")
    print_targets(figures, TARGETS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Send a load for long, and watch the sender.")
    parser.add_argument("--minutes", type=float, default=10, help="how long (10)")
    parser.add_argument("--rate", type=float, default=100, help="requests a second (100)")
    parser.add_argument("--json", action="store_true", help="print one flat object")
    return parser.parse_args()


if __name__ == "__main__":
    main()
