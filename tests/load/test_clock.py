"""The clock of a load process."""

from __future__ import annotations

import time

import pytest

from harness.load import clock


def test_it_tells_the_wall_clock_and_goes_on_when_that_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wall = time.time()
    before = clock.now()
    assert before == pytest.approx(wall, abs=60)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now() >= before


def test_it_follows_another_machines_clock_only_where_the_two_really_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock, "_wall_at_zero", clock._wall_at_zero)  # put back at the end
    before = clock.now()
    clock.follow(before + 0.5)
    assert clock.now() < before + 0.4, "a message may take that long"
    clock.follow(before + 3600)
    assert clock.now() >= before + 3600
