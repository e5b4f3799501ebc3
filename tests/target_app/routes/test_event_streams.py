"""Streams of events: their order, their heartbeat, and their end when the reader leaves."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import pytest

from target_app.routes import events
from target_app.routes.events import (
    HEARTBEAT,
    PIECE_BYTES,
    QUEUED_BYTES,
    Channel,
    EventStream,
    Work,
)

pytestmark = pytest.mark.anyio

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": []}


async def read(work: Work, heartbeat_seconds: float = 10.0) -> bytes:
    """Play a server whose client stays to the end."""
    body = b""

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")

    await asyncio.wait_for(EventStream(work, heartbeat_seconds)(SCOPE, receive, send), 10)
    return body


async def test_each_event_has_a_name_and_one_line_of_data() -> None:
    async def work(channel: Channel) -> None:
        await channel.send("first", {"text": "a\nb é \u2028"})
        await channel.send("second", {})

    assert await read(work) == (
        'event: first\ndata: {"text": "a\\nb é \u2028"}\n\nevent: second\ndata: {}\n\n'.encode()
    )


async def test_text_that_cannot_be_sent_is_replaced() -> None:
    async def work(channel: Channel) -> None:
        await channel.send("x", {"text": "\ud800"})

    assert await read(work) == b'event: x\ndata: {"text": "?"}\n\n'


async def test_a_heartbeat_is_sent_when_nothing_else_is() -> None:
    beaten = asyncio.Event()

    async def work(channel: Channel) -> None:
        await beaten.wait()
        await channel.send("at last", {})

    body = b""

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")
        if body.startswith(HEARTBEAT * 2):
            beaten.set()

    await asyncio.wait_for(EventStream(work, 0.001)(SCOPE, receive, send), 10)

    assert body.startswith(HEARTBEAT * 2)
    assert body.endswith(b"event: at last\ndata: {}\n\n")
    assert body.replace(HEARTBEAT, b"") == b"event: at last\ndata: {}\n\n"


async def test_work_that_fails_ends_with_an_error_that_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(channel: Channel) -> None:
        await channel.send("first", {})
        raise RuntimeError("the key is 123")

    body = await read(work)

    assert body.endswith(
        b'event: error\ndata: {"message": "the app failed; its log says why", '
        b'"type": "INTERNAL_ERROR"}\n\n'
    )
    assert "a stream of events failed" in caplog.messages


async def test_the_work_waits_for_its_reader_by_bytes_and_not_by_events() -> None:
    channel = Channel()
    sent: list[int] = []

    async def work() -> None:
        for number in range(5):
            # In JSON a NUL has six bytes.
            await channel.send("more", {"text": "\0" * (QUEUED_BYTES // 15)})
            sent.append(number)
        await channel.send("large", {"text": "\0" * QUEUED_BYTES})
        sent.append(5)

    working = asyncio.ensure_future(work())
    for so_far in (2, 3, 4, 5, 5):
        await asyncio.sleep(0)
        assert sent == [*range(so_far)]
        assert (await channel.take() or b"").startswith(b"event: more")

    # Larger than all there is room for, it comes alone.
    assert (await channel.take() or b"").startswith(b"event: large")
    await working


async def test_a_large_event_is_sent_in_pieces() -> None:
    text = "x" * (3 * PIECE_BYTES)
    pieces: list[bytes] = []

    async def work(channel: Channel) -> None:
        await channel.send("large", {"text": text})

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        pieces.append(message.get("body", b""))

    await asyncio.wait_for(EventStream(work, 10.0)(SCOPE, receive, send), 10)

    assert b"".join(pieces) == f'event: large\ndata: {{"text": "{text}"}}\n\n'.encode()
    assert max(map(len, pieces)) == PIECE_BYTES


class Closed:
    """Says whether it was closed, and whether the work still ran then."""

    def __init__(self) -> None:
        self.working = False
        self.closed_after_work = False

    def close(self) -> None:
        self.closed_after_work = not self.working


@pytest.mark.parametrize("reads", [True, False], ids=["a reader", "a reader that fell behind"])
async def test_work_ends_when_its_reader_leaves_and_what_it_holds_is_closed_after_it(
    reads: bool,  # noqa: FBT001
) -> None:
    held = Closed()
    leave = asyncio.Event()

    async def work(channel: Channel) -> None:
        held.working = True
        try:
            for _ in range(50):
                leave.set()
                await channel.send("more", {"text": "x" * 100_000})
        finally:
            # What takes a while to stop, as a thread does.
            await asyncio.shield(asyncio.sleep(0))
            held.working = False

    async def receive() -> Any:
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not reads:
            await asyncio.Event().wait()

    stream = EventStream(work, 10.0, closing(held))
    await asyncio.wait_for(stream(SCOPE, receive, send), 10)

    assert held.closed_after_work
    assert not [task for task in asyncio.all_tasks() if "Channel.run" in repr(task)]


async def test_a_reader_that_takes_nothing_any_more_is_one_that_has_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "STALLED_SECONDS", 0.001)
    caplog.set_level("INFO")
    held = Closed()
    ended: list[str] = []

    async def work(channel: Channel) -> None:
        held.working = True
        try:
            for _ in range(50):
                await channel.send("more", {"text": "x" * 100_000})
            ended.append("read")
        except asyncio.CancelledError:
            ended.append("left")
            raise
        finally:
            held.working = False

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    stream = EventStream(work, 10.0, closing(held))
    await asyncio.wait_for(stream(SCOPE, receive, send), 10)

    assert ended == ["left"]
    assert held.closed_after_work
    assert caplog.messages == ["a stream of events was given up: its reader takes nothing"]
