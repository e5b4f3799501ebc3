"""
Processor time of processes, finer than the hundredths of a second that psutil gives.

Linux has a clock for each process, in nanoseconds, with the threads that have ended. Its number is
made as clock_getcpuclockid(3) makes it. Elsewhere it is psutil's figure.
"""

from __future__ import annotations

import sys
import time

import psutil

_SCHEDULED = 2


def cpu_seconds(process: psutil.Process) -> float:
    """Measure a process and all that descend from it: CPU seconds so far."""
    return sum(_of_one(one) for one in (process, *process.children(recursive=True)))


def _of_one(process: psutil.Process) -> float:
    if sys.platform == "linux":
        try:
            return time.clock_gettime((~process.pid << 3) | _SCHEDULED)
        except OSError:
            return 0.0  # it has ended just now
    times = process.cpu_times()
    return times.user + times.system
