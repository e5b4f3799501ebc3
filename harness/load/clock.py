"""One clock for a whole process: comparable with a server's, and never set back."""

from __future__ import annotations

import time

# Clocks that agree better than this are left alone: a message takes time to arrive, too.
_TOLERANCE_SECONDS = 1.0

_wall_at_zero = time.time() - time.perf_counter()


def now() -> float:
    """Seconds since the epoch: one reading of the wall clock, and steady time added to it."""
    return _wall_at_zero + time.perf_counter()


def follow(instant: float) -> None:
    """
    Go by the clock of another machine, which shows this instant now.

    All load processes of a run write their instants into the same window, so a
    worker whose machine has the wrong time takes over that of its master. To be
    called only while no request is under way.
    """
    global _wall_at_zero  # noqa: PLW0603 - there is one clock
    if abs(instant - now()) > _TOLERANCE_SECONDS:
        _wall_at_zero = instant - time.perf_counter()
