"""Processor time of a process."""

from __future__ import annotations

import time

import psutil
import pytest

from benchmarks.processor_time import cpu_seconds


def test_it_is_the_time_that_the_process_itself_knows() -> None:
    before = time.process_time()
    told = cpu_seconds(psutil.Process())
    after = time.process_time()

    # Of other processes the system tells nothing finer than hundredths of a second, by itself.
    assert told == pytest.approx(after, abs=0.05)
    assert told >= before
