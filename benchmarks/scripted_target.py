"""
A target that answers every chat alike, after a time of its own, and keeps a log of the truth.

    python scripted_target.py log_normal

It prints its port. `instant` answers at once and only counts; `log_normal` waits for a time drawn
by a seed (median 120 ms, p99 500 ms); `freezing` answers after 20 ms, but from the first chat on
does nothing at all in the last second of every five. GET /truth hands over the log and empties it:
of each chat its trace id and when it came and was answered, of each freeze its begin and end, in
seconds since the epoch.

It is no framework's app, because it has to be several times as quick as the client.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

MEDIAN_SECONDS = 0.12
P99_SECONDS = 0.5
SIGMA = math.log(P99_SECONDS / MEDIAN_SECONDS) / 2.326348
"""Of the log-normal distribution: 2.326348 is the 0.99 quantile of the normal one."""
SEED = 11

USUAL_SECONDS = 0.02
FREEZE_SECONDS = 1.0
FREEZE_EVERY_SECONDS = 5.0

WATCH_SECONDS = 0.5
TRACEPARENT = b"traceparent: 00-"
TRACE_ID_LENGTH = 32
LENGTH = b"content-length: "


def answer(status: str, body: bytes) -> bytes:
    """Write a whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


CHAT = answer("200 OK", b'{"response": "42 s"}')
FINE = answer("200 OK", b'{"status": "ok"}')
NOT_FOUND = answer("404 Not Found", b'{"detail": "not here"}')


@dataclass
class Truth:
    """What happened: chats that were answered, and freezes."""

    chats: int = 0
    first: float | None = None
    answered: list[tuple[str, float, float]] = field(default_factory=list)
    freezes: list[tuple[float, float]] = field(default_factory=list)


class Target:
    """How long it takes for a chat, and what it logged."""

    def __init__(self, kind: str) -> None:
        self.truth = Truth()
        self._draws = random.Random(SEED)  # noqa: S311 - a latency, not a secret
        self.seconds = {
            "instant": None,
            "log_normal": self._drawn,
            "freezing": lambda: USUAL_SECONDS,
        }[kind]
        self._freezes = kind == "freezing"

    def begin(self, now: float) -> None:
        """Note the first chat, from which the freezes are counted."""
        self.truth.first = now
        if self._freezes:
            asyncio.get_running_loop().call_later(
                FREEZE_EVERY_SECONDS - FREEZE_SECONDS, self._freeze
            )

    def hand_over(self) -> bytes:
        """Write the log as JSON, and empty it."""
        truth, self.truth = self.truth, Truth(first=self.truth.first)
        return json.dumps(asdict(truth)).encode()

    def _drawn(self) -> float:
        return self._draws.lognormvariate(math.log(MEDIAN_SECONDS), SIGMA)

    def _freeze(self) -> None:
        begun = time.time()
        time.sleep(FREEZE_SECONDS)
        self.truth.freezes.append((begun, time.time()))
        asyncio.get_running_loop().call_later(FREEZE_EVERY_SECONDS - FREEZE_SECONDS, self._freeze)


class Connection(asyncio.Protocol):
    """One client: a request at a time, head and body in however many pieces."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._unread = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request as soon as it is whole."""
        request = self._unread + data if self._unread else data
        head, found, body = request.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            self._unread = request
            return
        self._unread = b""
        if head.startswith(b"POST"):
            self._chat(head)
        else:
            self._other(head)

    def _chat(self, head: bytes) -> None:
        target = self._target
        truth = target.truth
        if truth.first is None:
            target.begin(time.time())
        truth.chats += 1
        if target.seconds is None:
            self._transport.write(CHAT)
            return
        came = time.time()
        trace_id = _trace_id(head)

        def answered() -> None:
            self._transport.write(CHAT)
            target.truth.answered.append((trace_id, came, time.time()))

        asyncio.get_running_loop().call_later(target.seconds(), answered)

    def _other(self, head: bytes) -> None:
        answers: dict[bytes, Callable[[], bytes]] = {
            b"GET /health": lambda: FINE,
            b"DELETE /api/cache": lambda: FINE,
            b"GET /chats": lambda: answer("200 OK", str(self._target.truth.chats).encode()),
            b"GET /truth": lambda: answer("200 OK", self._target.hand_over()),
        }
        asked = head.split(b" HTTP/", 1)[0]
        self._transport.write(answers.get(asked, lambda: NOT_FOUND)())


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(LENGTH)
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def _trace_id(head: bytes) -> str:
    _, found, rest = head.lower().partition(TRACEPARENT)
    return rest[:TRACE_ID_LENGTH].decode() if found else ""


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(0)


async def main() -> None:
    """Serve until the process ends, or the one that started it."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    target = Target(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(target), "127.0.0.1", 0, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
