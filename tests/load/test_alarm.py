"""An alarm never goes off before its time."""

from __future__ import annotations

from contextlib import closing

import pytest

from harness.load import clock
from harness.load.alarm import Alarm


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_it_wakes_when_it_is_time_and_not_before(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", system)
    with closing(Alarm()) as alarm:
        for ahead in (0.02, 0.0005, 0.03):
            due = clock.now() + ahead
            alarm.sleep_until(due)
            # The loop of other systems counts in whole milliseconds.
            assert clock.now() >= due - (0.0 if system == "linux" else 0.002)


def test_what_is_over_is_not_waited_for() -> None:
    with closing(Alarm()) as alarm:
        before = clock.now()
        alarm.sleep_until(before - 1000)
        assert clock.now() - before < 1
