"""What the user is told of a load that says it only in its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli.load_log import own_words, waiting

TABLE = """\
Type     Name                                  # reqs      # fails |    Avg     Min     Max
--------|-------------------------------------|-------|-------------|-------|-------|-------
GET      /api/chat                                  8     7(87.50%) |    120     110     130
--------|-------------------------------------|-------|-------------|-------|-------|-------
         Aggregated                                 8     7(87.50%) |    120     110     130

Response time percentiles (approximated)
--------|--------|--------|------|------|------|------|------|------|------|------|------|------
"""
LOGGED = "[2026-11-22 10:00:00,123] box/INFO/locust.main: Starting Locust 2.47.0\n"
FAILED = "[2026-11-22 10:00:01,123] box/ERROR/locust.main: cannot bind to port 5557\n"
RAISED = """\
Traceback (most recent call last):
  File "scenarios/asker.py", line 3, in <module>
    import nowhere
ModuleNotFoundError: No module named 'nowhere'
"""


@pytest.mark.parametrize(
    ("log", "words"),
    [
        pytest.param(
            f"{LOGGED}harness: one\nharness: another\n{FAILED}{TABLE}", "another",
            id="the last of its own sentences, before all others",
        ),
        pytest.param(
            FAILED + LOGGED + TABLE, "cannot bind to port 5557", id="an error that was logged"
        ),
        pytest.param(
            LOGGED + RAISED + TABLE, "ModuleNotFoundError: No module named 'nowhere'",
            id="an exception",
        ),
        pytest.param(LOGGED + TABLE, "Starting Locust 2.47.0", id="the last that was logged"),
        pytest.param(TABLE, "", id="never a line of a table"),
        pytest.param("", "", id="nothing"),
    ],
)  # fmt: skip
def test_why_a_load_ended(log: str, words: str) -> None:
    assert own_words(log) == words


@pytest.mark.parametrize(
    ("missing", "port", "sentence"),
    [
        pytest.param(
            "2 of 2", 5557,
            "waiting for 2 load processes at port 5557; start them with: "
            "locust -f mine --worker --master-host THIS_MACHINE",
            id="all, at Locust's own port",
        ),
        pytest.param(
            "1 of 2", 6000,
            "waiting for 1 of 2 load processes at port 6000; start it with: "
            "locust -f mine --worker --master-host THIS_MACHINE --master-port 6000",
            id="the last, at another port",
        ),
    ],
)  # fmt: skip
def test_how_the_missing_load_processes_are_started(
    missing: str, port: int, sentence: str
) -> None:
    log = f"[2026-11-22 10:00:03,1] box/INFO/harness.load: waiting for {missing} load processes\n"
    assert waiting(LOGGED + log, Path("mine"), port) == sentence


def test_nobody_is_called_when_all_are_there() -> None:
    assert waiting(LOGGED, Path("mine"), 5557) == ""
