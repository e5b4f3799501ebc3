"""The target of the load benchmark answers what it is told to, and its log is the truth."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks import scripted_target
from benchmarks.scripted_target import MEDIAN_SECONDS, Connection, Target

TRACE = "0123456789abcdef0123456789abcdef"


@asynccontextmanager
async def serving(target: Target) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(target), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


async def exchange(port: int, *pieces: bytes) -> tuple[bytes, bytes]:
    """Send a request in pieces; gives the status line and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return head.split(b"\r\n")[0], body


def chat(trace_id: str = TRACE) -> bytes:
    return (
        f"POST /api/chat HTTP/1.1\r\nTraceparent: 00-{trace_id}-0123456789abcdef-01\r\n"
        'Content-Length: 15\r\n\r\n{"message": ""}'
    ).encode()


def test_an_instant_target_counts_chats_and_keeps_no_log() -> None:
    async def ask() -> dict[str, object]:
        async with serving(Target("instant")) as port:
            assert await exchange(port, chat()) == (b"HTTP/1.1 200 OK", b'{"response": "42 s"}')
            await exchange(port, chat())
            assert (await exchange(port, b"GET /chats HTTP/1.1\r\n\r\n"))[1] == b"2"
            truth: dict[str, object] = json.loads(
                (await exchange(port, b"GET /truth HTTP/1.1\r\n\r\n"))[1]
            )
            return truth

    truth = asyncio.run(ask())

    assert (truth["chats"], truth["answered"], truth["freezes"]) == (2, [], [])
    assert truth["first"] == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize("cut", [5, 60, len(chat()) - 3])
def test_a_request_may_come_in_pieces(cut: int) -> None:
    async def ask() -> tuple[bytes, bytes]:
        async with serving(Target("instant")) as port:
            return await exchange(port, chat()[:cut], chat()[cut:])

    assert asyncio.run(ask())[0] == b"HTTP/1.1 200 OK"


def test_whatever_else_is_asked_is_not_there() -> None:
    async def ask() -> bytes:
        async with serving(Target("instant")) as port:
            return (await exchange(port, b"GET /metrics HTTP/1.1\r\n\r\n"))[0]

    assert asyncio.run(ask()) == b"HTTP/1.1 404 Not Found"


def test_the_log_tells_when_each_chat_came_and_was_answered() -> None:
    target = Target("log_normal")
    target.seconds = iter((0.05, 0.01)).__next__

    async def ask() -> dict[str, object]:
        async with serving(target) as port:
            await asyncio.gather(exchange(port, chat()), exchange(port, chat("f" * 32)))
            return {"answered": target.truth.answered, "later": json.loads(target.hand_over())}

    answered = asyncio.run(ask())["answered"]

    assert isinstance(answered, list)
    assert {trace_id for trace_id, _, _ in answered} == {TRACE, "f" * 32}
    served = sorted(end - came for _, came, end in answered)
    assert served[0] >= 0.009
    assert served[1] >= 0.049


def test_latencies_are_log_normal_and_the_same_in_each_run() -> None:
    draw, again = Target("log_normal").seconds, Target("log_normal").seconds
    assert draw is not None
    assert again is not None
    drawn = [draw() for _ in range(5000)]

    assert statistics.median(drawn) == pytest.approx(MEDIAN_SECONDS, rel=0.05)
    assert sorted(drawn)[4950] == pytest.approx(0.5, rel=0.1)
    assert drawn[:9] == [again() for _ in range(9)]


def test_a_freeze_stops_everything_and_is_logged(monkeypatch) -> None:
    monkeypatch.setattr(scripted_target, "FREEZE_SECONDS", 0.05)
    monkeypatch.setattr(scripted_target, "FREEZE_EVERY_SECONDS", 0.08)
    target = Target("freezing")

    async def ask() -> None:
        async with serving(target) as port:
            while len(target.truth.freezes) < 2:
                await exchange(port, chat())

    asyncio.run(ask())

    (first, thawed), (second, _) = target.truth.freezes[:2]
    assert thawed - first >= 0.049
    assert second - thawed >= 0.029
    assert all(not first < end < thawed for _, _, end in target.truth.answered)
