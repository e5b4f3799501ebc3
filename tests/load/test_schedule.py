"""Response time runs from when a request was due, whoever is slow: the server or the load."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ANSWER = b'{"response": "yes"}'


class Freezing:
    """A server that answers one request at a time, and once lets everybody wait a second."""

    def __init__(self) -> None:
        self.url = ""
        self.freezes_at = -1
        self.frozen = (0.0, 0.0)
        self.labels: list[str] = []
        self._one_at_a_time = threading.Lock()

    def answer(self, label: str) -> bytes:
        with self._one_at_a_time:
            self.labels.append(label)
            if len(self.labels) == self.freezes_at:
                begin = time.time()
                time.sleep(1)
                self.frozen = (begin, time.time())
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(ANSWER)
        return head + ANSWER


@contextmanager
def serving() -> Iterator[Freezing]:
    """Serve from a thread."""
    known = Freezing()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            length, label = 0, ""
            while line := self.rfile.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
                if line.startswith(b"baggage:"):
                    label = line.decode().rpartition("=")[2]
            self.rfile.read(length)
            self.wfile.write(known.answer(label))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as server:
        known.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield known
        server.shutdown()
        thread.join()


@pytest.fixture
def freezing() -> Iterator[Freezing]:
    with serving() as known:
        yield known


@pytest.fixture(scope="module")
def frozen(in_child: Callable[..., Any]) -> tuple[dict[str, Any], tuple[float, float]]:
    """What was kept of a load whose server froze once, and when that was."""
    with serving() as known:
        known.freezes_at = 5
        return in_child("child_schedule.py", known.url, "open", "2s", "0s"), known.frozen


def intended(kept: dict[str, Any]) -> list[float]:
    return sorted(s["intended_start"] for s in kept["samples"])


def test_who_was_due_while_the_server_froze_has_waited_until_it_went_on(
    frozen: tuple[dict[str, Any], tuple[float, float]],
) -> None:
    kept, (begin, end) = frozen
    waited = [s for s in kept["samples"] if begin <= s["intended_start"] < end - 0.01]
    # A load that waits for answers would have sent nothing meanwhile, and show one slow request.
    assert len(waited) >= 9
    for s in waited:
        assert s["end"] - s["intended_start"] >= end - s["intended_start"] - 0.01
    assert len(kept["samples"]) == kept["planned"] == 20


def test_the_schedule_does_not_move_when_the_server_freezes(
    frozen: tuple[dict[str, Any], tuple[float, float]],
) -> None:
    kept, _ = frozen
    assert [b - a for a, b in pairwise(intended(kept))] == pytest.approx([0.1] * 19, abs=1e-5)


def test_a_stall_of_the_load_itself_is_response_time_but_not_service_time(
    freezing: Freezing, in_child: Callable[..., Any]
) -> None:
    kept = in_child("child_schedule.py", freezing.url, "stalled", "1s", "0s")
    due = intended(kept)
    assert [b - a for a, b in pairwise(due)] == pytest.approx([0.1] * 9, abs=1e-5)
    # The third began to stall when it was due, or later: those due within half a second after.
    held_up = [s for s in kept["samples"] if due[2] < s["intended_start"] < due[2] + 0.45]
    assert len(held_up) == 4
    for s in held_up:
        response, service = s["end"] - s["intended_start"], s["end"] - s["start"]
        assert response - service >= due[2] + 0.5 - s["intended_start"] - 1e-5


def test_in_a_closed_loop_a_request_is_due_when_the_pause_is_over(
    freezing: Freezing, in_child: Callable[..., Any]
) -> None:
    kept = in_child("child_schedule.py", freezing.url, "closed", "1s", "0s")
    first, second, third = kept["samples"]
    assert first["intended_start"] == first["start"], "the first is due at once"
    assert second["intended_start"] == kept["due"]
    # 0.5 s of stall after the pause: that is not the server's time.
    assert second["start"] - second["intended_start"] >= 0.5
    assert third["intended_start"] == third["start"], "no pause before, so it is due at once"


def test_what_only_warms_up_is_no_sample_and_does_not_carry_the_scenario(
    freezing: Freezing, in_child: Callable[..., Any]
) -> None:
    kept = in_child("child_schedule.py", freezing.url, "open", "0.5s", "0.5s")
    assert (len(kept["samples"]), kept["planned"]) == (5, 5)
    assert kept["warmup"] >= 1
    assert freezing.labels == ["warmup"] * kept["warmup"] + ["asker"] * 5


def test_a_load_told_to_stop_sends_nothing_more_and_keeps_what_it_planned(
    freezing: Freezing, in_child: Callable[..., Any]
) -> None:
    kept = in_child("child_schedule.py", freezing.url, "stopped", "60s", "0s")
    assert kept["planned"] == 600
    assert 1 <= len(kept["samples"]) < 600
    assert {s["outcome"] for s in kept["samples"]} == {"ok"}


def test_a_deck_that_is_used_up_ends_the_load(
    freezing: Freezing, in_child: Callable[..., Any], tmp_path: Path
) -> None:
    deck = tmp_path / "deck.jsonl"
    deck.write_text("".join(json.dumps({"text": f"question {i}"}) + "\n" for i in range(3)))
    kept = in_child("child_schedule.py", freezing.url, "deck", "60s", "0s", str(deck))
    assert (len(kept["samples"]), kept["begun"], kept["planned"]) == (3, 3, 600)
