"""What a load process notes of itself: each figure moves when, and only when, its cause is there."""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from harness.load.health import Health


@pytest.fixture
def health() -> Iterator[Health]:
    """Measure this process, as load process 3, with no collection of garbage but the test's own."""
    measured = Health(3)
    gc.disable()
    measured.begin()
    yield measured
    measured.end()
    gc.enable()


def burn(seconds: float) -> None:
    """Keep one core busy, and with it the loop."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_second_in_which_nothing_was_due_has_no_lateness(health: Health) -> None:
    before = time.time()
    noted = health.second(in_flight=0)
    assert (noted.process, noted.begun, noted.in_flight, noted.lateness) == (3, 0, 0, None)
    assert before - 1 <= noted.at <= time.time() + 1


def test_it_counts_the_journeys_begun_and_keeps_the_largest_lateness(health: Health) -> None:
    for lateness in (0.002, 0.5, 0.001):
        health.late(lateness)
    first, second = health.second(in_flight=7), health.second(in_flight=4)
    assert (first.begun, first.in_flight, first.lateness) == (3, 7, 0.5)
    assert (second.begun, second.in_flight, second.lateness) == (0, 4, None)


def test_whatever_holds_up_the_loop_makes_its_timer_late(health: Health) -> None:
    gevent.sleep(0.05)
    health.second(0)
    burn(0.3)
    held_up = health.second(0)  # the timer did not even go off yet
    gevent.sleep(0.05)
    late = health.second(0)
    assert held_up.loop_lag >= 0.25
    assert late.loop_lag >= 0.25
    health.second(0)
    gevent.sleep(0.1)
    assert health.second(0).loop_lag < late.loop_lag


def test_it_knows_how_much_of_a_core_this_process_used(health: Health) -> None:
    burn(0.2)
    busy = health.second(0)
    gevent.sleep(0.2)
    idle = health.second(0)
    assert busy.cpu_share > idle.cpu_share
    assert busy.cpu_share > 0.05  # even where others take the core most of the time
    assert 0 <= idle.machine_cpu_share <= 1


def test_it_counts_sockets_and_no_other_files(health: Health, tmp_path: Path) -> None:
    before = health.second(0).sockets
    opened = [socket.socket() for _ in range(5)]
    during = health.second(0).sockets
    for one in opened:
        one.close()
    assert (during - before, health.second(0).sockets - before) == (5, 0)
    with (tmp_path / "file").open("w"):
        health.begin()
        assert health.second(0).sockets == before


def test_it_sums_up_the_pauses_of_the_garbage_collector(health: Health) -> None:
    assert health.second(0).gc_seconds == 0
    began = time.perf_counter()
    gc.collect()
    took = time.perf_counter() - began
    noted = health.second(0)
    assert 0 < noted.gc_seconds <= took
    assert health.second(0).gc_seconds == 0


def test_it_knows_its_memory(health: Health) -> None:
    before = health.second(0).memory_bytes
    ballast = bytearray(100_000_000)  # more than what was freed before is given again
    assert health.second(0).memory_bytes - before > 80_000_000
    del ballast


def test_seconds_are_handed_over_once(health: Health) -> None:
    noted = [health.second(0), health.second(1)]
    assert health.take() == noted
    assert health.take() == []
    last = health.second(2)
    health.end()
    assert health.take() == [last]


def test_after_the_end_nothing_is_left_in_the_collector_or_the_loop(health: Health) -> None:
    listening = len(gc.callbacks)
    health.end()
    assert len(gc.callbacks) == listening - 1
    burn(0.05)
    gevent.sleep(0.05)
    health.begin()
    assert health.second(0).loop_lag < 0.04  # nothing of what came before
    assert len(gc.callbacks) == listening
