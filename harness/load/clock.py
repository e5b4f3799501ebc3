"""One clock for a whole process: comparable with a server's, and never set back."""

from __future__ import annotations

import time

_WALL = time.time()
_MONOTONIC = time.perf_counter()


def now() -> float:
    """Seconds since the epoch: one reading of the wall clock, and steady time added to it."""
    return _WALL + (time.perf_counter() - _MONOTONIC)
