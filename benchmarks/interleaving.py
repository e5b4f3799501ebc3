"""
The order in which two things are measured: A B B A, and so on.

Each half of a cycle is a pair of blocks with the same questions. Noise that lasts, and a machine
that grows slower or faster steadily, fall on both alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Side = Literal["off", "on"]

FORTH: tuple[Side, Side] = ("off", "on")


@dataclass(frozen=True, slots=True)
class Turn:
    """One block: which side is measured, and which pair of blocks it belongs to."""

    side: Side
    pair: int


def turns(pairs: int) -> Iterator[Turn]:
    """Give the blocks of so many pairs, every other pair backwards."""
    for pair in range(pairs):
        for side in FORTH if pair % 2 == 0 else reversed(FORTH):
            yield Turn(side, pair)
