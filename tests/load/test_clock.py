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
