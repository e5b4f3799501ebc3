"""Figures of a benchmark: how they are summed up, judged and printed."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Figures = dict[str, float]
"""Measured values by name. Seconds and bytes are named so; a ratio or a share has no unit."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is meant to be."""

    name: str
    at_least: float | None = None
    at_most: float | None = None

    def met_by(self, value: float) -> bool:
        """Whether a value is good enough."""
        low_enough = self.at_most is None or value <= self.at_most
        high_enough = self.at_least is None or value >= self.at_least
        return low_enough and high_enough

    @property
    def wanted(self) -> str:
        """The bound in words."""
        return f">= {self.at_least:g}" if self.at_most is None else f"<= {self.at_most:g}"


def quantile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def print_json(figures: Figures) -> None:
    """Print one flat object."""
    print(json.dumps({name: float(f"{value:.6g}") for name, value in figures.items()}, indent=2))


def print_targets(figures: Figures, targets: Sequence[Target]) -> None:
    """Print what is promised, what was measured, and whether it is met."""
    rows = [
        (
            target.name,
            f"{figures[target.name]:.3g}",
            target.wanted,
            "met" if target.met_by(figures[target.name]) else "MISSED",
        )
        for target in targets
    ]
    print_table("Targets", ("", "measured", "wanted", ""), rows)


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column stands left, the others right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    print(f"\n{title}")
    for row in (head, *rows):
        first, *others = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  " + "  ".join((first, *others)).rstrip())


def print_machine(more: Mapping[str, str]) -> None:
    """Print what the figures were measured on."""
    facts = {
        "Python": platform.python_version(),
        "CPUs": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        **more,
    }
    print(", ".join(f"{name} {value}" for name, value in facts.items()))
