"""
Times of streams, against a server that knows when it sent what.

The server's own log is the truth: whatever the machine did in between, it
says when each piece left. The bounds are on medians, since the machine is shared.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, ClassVar

import pytest

STREAMS, AT_ONCE = 24, 4
# Seconds of silence before each piece.
PAUSES = (0.040, 0.010, 0.030, 0.005, 0.060, 0.020)
IN_TWO_PARTS = 2  # this piece comes in two parts, and has come when its second part has
NEAR = 0.005
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class Told:
    """When the server had read a request, and sent each piece and the end of its answer."""

    received: float = 0.0
    sent: list[float] = field(default_factory=list)
    ended: float = 0.0


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


WORD = chunk(event({"choices": [{"delta": {"content": "word"}}]}))
# What is sent first, and what again and again.
ENDLESS = {
    "heartbeats": (HEAD + WORD, chunk(b": still here\n\n")),
    "thoughts": (HEAD, chunk(event({"choices": [{"delta": {"reasoning": "hm"}}]}))),
    "drops": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"x"),
}


class Handler(socketserver.StreamRequestHandler):
    """Answers one request after the other on a connection, by the clock."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.server.connections.append(self.client_address)  # type: ignore[attr-defined]
        with suppress(ConnectionError):  # some clients give up
            while request := self._request():
                headers, message = request
                if message in ENDLESS:
                    self._go_on(*ENDLESS[message])
                log: dict[str, Told] = self.server.log  # type: ignore[attr-defined]
                self._answer(log[headers["traceparent"].split("-")[1]])

    def _go_on(self, first: bytes, again: bytes) -> None:
        """Send something, and then something else again and again, until nobody reads it."""
        self.wfile.write(first)
        while True:
            time.sleep(0.05)
            self.wfile.write(again)

    def _request(self) -> tuple[dict[str, str], str] | None:
        if not self.rfile.readline():
            return None
        headers = {}
        while line := self.rfile.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        body = json.loads(self.rfile.read(int(headers["content-length"])))
        return headers, body["messages"][-1]["content"]

    def _answer(self, told: Told) -> None:
        told.received = time.perf_counter()
        self.wfile.write(HEAD)
        for number, pause in enumerate(PAUSES):
            time.sleep(pause)
            piece = event({"choices": [{"delta": {"content": f"word{number} "}}]})
            if number == IN_TWO_PARTS:
                self._chunk(b": a comment\n\n" + piece[:20])
                time.sleep(0.01)
                piece = piece[20:]
            told.sent.append(time.perf_counter())
            self._chunk(piece)
        usage = {"prompt_tokens": 9, "completion_tokens": len(PAUSES)}
        told.ended = time.perf_counter()
        self._chunk(event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(chunk(data))


@dataclass(frozen=True)
class Read:
    """One stream as the client saw it, and the truth."""

    sample: dict[str, Any]
    gaps: list[float]
    told: Told


@dataclass(frozen=True)
class Kept:
    """What one process read, what it gave up, and over how many connections it came."""

    streams: list[Read]
    given_up: list[dict[str, Any]]
    connections: int


@pytest.fixture(scope="module")
def kept(in_child: Callable[..., Any]) -> Kept:
    """All streams, read by one process, several at once."""

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        log: ClassVar[dict[str, Told]] = defaultdict(Told)
        connections: ClassVar[list[Any]] = []

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        read = in_child("child_streams.py", url, str(STREAMS), str(AT_ONCE))
        server.shutdown()
        thread.join()
        whole = [
            Read(sample, gaps, Server.log[sample["trace_id"]])
            for sample, gaps in zip(read["samples"], read["gaps"], strict=False)
        ]
        return Kept(whole, read["given_up"], len(Server.connections))


@pytest.fixture(scope="module")
def streams(kept: Kept) -> list[Read]:
    return kept.streams


def test_every_piece_of_every_stream_is_counted(streams: list[Read]) -> None:
    assert len(streams) == STREAMS
    for read in streams:
        told = (read.sample["outcome"], read.sample["events"], read.sample["output_tokens"])
        assert told == ("ok", len(PAUSES), len(PAUSES))
        assert len(read.gaps) == len(PAUSES) - 1
        assert read.sample["longest_gap"] == max(read.gaps)


def test_no_piece_was_seen_before_it_was_sent(streams: list[Read]) -> None:
    for read in streams:
        seen = read.sample["first_token"] - read.sample["start"]
        assert seen >= read.told.sent[0] - read.told.received - 1e-4
        assert read.sample["first_token"] + sum(read.gaps) <= read.sample["end"] + 1e-6


def test_the_first_token_is_timed_to_five_milliseconds(streams: list[Read]) -> None:
    errors = [
        (r.sample["first_token"] - r.sample["start"]) - (r.told.sent[0] - r.told.received)
        for r in streams
    ]
    assert median(errors) < NEAR, errors


def test_gaps_between_tokens_are_timed_to_five_milliseconds(streams: list[Read]) -> None:
    errors = [
        abs(gap - (later - earlier))
        for r in streams
        for gap, (earlier, later) in zip(r.gaps, pairwise(r.told.sent), strict=True)
    ]
    assert len(errors) == STREAMS * (len(PAUSES) - 1)
    assert median(errors) < NEAR, errors


def test_time_per_output_token_is_right_to_five_milliseconds(streams: list[Read]) -> None:
    each = len(PAUSES) - 1
    errors = [
        abs(
            (r.sample["end"] - r.sample["first_token"]) / each
            - (r.told.ended - r.told.sent[0]) / each
        )
        for r in streams
    ]
    assert median(errors) < NEAR, errors


def test_a_stream_that_only_keeps_its_connection_open_has_stalled(kept: Kept) -> None:
    sample = kept.given_up[0]
    assert (sample["outcome"], sample["detail"]) == (
        "broken_stream", "stalled: no event for 0.3 s"
    )  # fmt: skip
    assert 0.3 <= sample["end"] - sample["first_token"] < sample["end"] - sample["start"]


def test_a_stream_that_goes_on_and_on_ends_with_the_clients_patience(kept: Kept) -> None:
    sample = kept.given_up[1]
    assert (sample["outcome"], sample["detail"]) == ("timeout", "no whole answer within 1 s")
    assert sample["end"] - sample["start"] >= 1.0
    assert sample["events"] >= 2


def test_so_does_an_answer_that_comes_byte_by_byte(kept: Kept) -> None:
    sample = kept.given_up[2]
    assert (sample["outcome"], sample["detail"]) == ("timeout", "no whole answer within 1 s")
    assert sample["events"] is None


def test_connections_are_used_again_after_a_whole_answer_and_not_after_half_of_one(
    kept: Kept,
) -> None:
    assert kept.connections == AT_ONCE + len(ENDLESS)
