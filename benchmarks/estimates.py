"""
Estimates of what was measured with noise: a value, its 95 % interval, and the file of them.

The interval is of the percentile bootstrap: what was measured is drawn again, with replacement,
many times, and the middle 95 % of what follows is the interval (Efron and Tibshirani, An
Introduction to the Bootstrap, chapter 13). What is drawn are whole blocks or rounds, because
requests that share a block share its noise.
"""

from __future__ import annotations

import json
import os
import platform
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

CONFIDENCE = 0.95
RESAMPLES = 1000
SEED = 7

DIGITS = 6

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, the interval that holds the true one in 95 of 100 runs, and the events behind."""

    value: float
    low: float
    high: float
    count: int
    unit: str

    def __str__(self) -> str:
        """Write the value and its interval."""
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def exactly(value: float, count: int, unit: str) -> Estimate:
    """Give what was counted and not estimated."""
    return Estimate(value, value, value, count, unit)


def bootstrap(
    items: Sequence[T],
    statistic: Callable[[Sequence[T]], float],
    *,
    count: int,
    unit: str,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate:
    """
    Estimate a statistic of items and its interval; the same items give the same one.

    Raises ValueError without items.
    """
    if not items:
        raise ValueError("there is nothing to estimate from")
    draws = random.Random(seed)  # noqa: S311 - a sample, not secrets
    drawn = sorted(statistic(draws.choices(items, k=len(items))) for _ in range(resamples))
    beyond = int(resamples * (1 - CONFIDENCE) / 2)
    return Estimate(statistic(items), drawn[beyond], drawn[-1 - beyond], count, unit)


def flat(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Name value and interval of every estimate: `name`, `name_low`, `name_high`."""
    figures = {}
    for name, estimate in estimates.items():
        figures[name] = estimate.value
        if estimate.low != estimate.high:
            figures |= {f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return figures


def write_estimates(
    file: Path, benchmark: str, estimates: Mapping[str, Estimate], now: datetime | None = None
) -> None:
    """
    Write what a benchmark found, and on what, as JSON. Makes the folder.

    Whoever reads the file while it is written sees the one before.
    """
    document = {
        "benchmark": benchmark,
        "measured_at": (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": {
            "cpus": os.cpu_count(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "versions": {"python": platform.python_version(), "harness": _version()},
        "figures": {name: _rounded(estimate) for name, estimate in estimates.items()},
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}")
    fresh.write_text(json.dumps(document, indent=2) + "\n")
    fresh.replace(file)


def _rounded(estimate: Estimate) -> dict[str, float | int | str]:
    return {
        name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
        for name, value in asdict(estimate).items()
    }


def _version() -> str:
    try:
        return version("harness")
    except PackageNotFoundError:
        return "unknown"
