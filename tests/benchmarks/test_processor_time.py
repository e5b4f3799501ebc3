"""Processor time of a process."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from benchmarks.processor_time import cpu_seconds

WORK = """
import sys, time
while time.process_time() < 0.3:
    pass
print(time.process_time(), flush=True)
sys.stdin.read()
"""


def test_it_is_the_time_that_the_process_itself_knows() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as working:
        assert working.stdout is not None
        known = float(working.stdout.readline())
        told = cpu_seconds(psutil.Process(working.pid))
        working.communicate("")

    # What the process did after it said so takes far less than this.
    assert told == pytest.approx(known, abs=0.05)
    assert told >= 0.3
