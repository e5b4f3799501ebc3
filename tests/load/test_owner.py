"""A load that cannot go on ends by itself, says why, and keeps what there is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.runs import RunDirectory

ANSWER = b'{"response": "yes"}'
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER


@pytest.fixture
def broken(
    in_child: Callable[..., Any], server: Any, tmp_path: Path
) -> Callable[[str], tuple[dict[str, Any], RunDirectory]]:
    """Run a load of a minute in which this goes wrong, and give how it ended."""
    server.answer("again", OK)
    server.answer("GET /health", OK)
    server.answer("GET /metrics", OK)

    def run(what: str) -> tuple[dict[str, Any], RunDirectory]:
        told = in_child("child_owner.py", server.url, what, str(tmp_path))
        return told, RunDirectory(tmp_path / told["run"])

    return run


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        pytest.param(
            "disk",
            "what was measured could not be written down: OSError: [Errno 28] No space left",
            id="a full disk",
        ),
        pytest.param("sending", "RuntimeError: no schedule today", id="a fault in the sending"),
    ],
)
def test_whatever_goes_wrong_the_load_ends_and_its_window_says_why(
    broken: Callable[[str], tuple[dict[str, Any], RunDirectory]], what: str, sentence: str
) -> None:
    told, directory = broken(what)
    assert told["code"] == 2
    assert told["seconds"] < 30, "the load itself would have taken a minute"
    record = directory.read_window("asker")
    assert f"the load was broken off: {sentence}" in record.notes[0]
    assert "it was never closed" not in json.dumps(record.notes)


def test_a_window_that_cannot_even_be_closed_is_left_open_and_the_load_ends(
    broken: Callable[[str], tuple[dict[str, Any], RunDirectory]],
) -> None:
    told, directory = broken("closing")
    assert told["code"] == 2
    assert directory.read_window("asker").notes == ("it was never closed",)


def test_a_bad_second_and_a_request_that_cannot_be_kept_are_told_and_the_load_goes_on(
    broken: Callable[[str], tuple[dict[str, Any], RunDirectory]],
) -> None:
    told, directory = broken("recorder")
    assert told["code"] is None
    record = directory.read_window("asker")
    assert record.begun == record.planned
    assert (
        "load process 0: a request could not be kept: ValueError: no such request, 1 times"
        in record.notes
    )
