"""Server-sent events: work that runs in a task of its own and tells its reader how it goes."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

QUEUED_BYTES = 1024 * 1024
"""How far a slow reader may be behind before the work waits for it."""

PIECE_BYTES = 64 * 1024
"""What is handed to the server at once, so that it shows whether the reader still takes any."""

STALLED_SECONDS = 30.0
"""A reader that takes no piece for so long is treated as one that has left."""

HEARTBEAT = b": heartbeat\n\n"
"""A comment: it keeps the connection open where a proxy would take it for dead."""


def events(*names: str) -> dict[int | str, dict[str, Any]]:
    """
    Declare a stream of events of these names, for the documentation of its route.

    The route's response class is to be Response: of EventStream, its errors would be declared
    to be events too.
    """
    event = {
        "type": "object",
        "description": "One event; its data is a JSON document.",
        "properties": {"event": {"enum": names}, "data": {"type": "string"}},
        "required": ["event", "data"],
    }
    return {
        200: {
            "description": "A stream of events, with comments in between while nothing happens.",
            "content": {"text/event-stream": {"schema": event}},
        }
    }


class Channel:
    """
    Takes events from the work. Sending waits while the reader is far behind.

    That wait has no end of its own: a reader that takes nothing any more ends the stream after
    STALLED_SECONDS, and the work with it.
    """

    def __init__(self) -> None:
        """Begin without events."""
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._queued_bytes = 0
        self._taken = asyncio.Event()

    async def send(self, name: str, data: dict[str, Any]) -> None:
        """Send one event. One that is larger than the room for all waits until it is alone."""
        text = json.dumps(data, ensure_ascii=False)
        event = f"event: {name}\ndata: {text}\n\n".encode(errors="replace")
        while self._queued_bytes and self._queued_bytes + len(event) > QUEUED_BYTES:
            self._taken.clear()
            await self._taken.wait()
        self._queued_bytes += len(event)
        self._events.put_nowait(event)

    async def take(self) -> bytes | None:
        """Wait for the next event, written as it is sent; None is the end."""
        event = await self._events.get()
        if event is not None:
            self._queued_bytes -= len(event)
            self._taken.set()
        return event

    async def run(self, work: Work) -> None:
        """Do the work and send the end of the stream after it, whatever way it ends."""
        try:
            await work(self)
        except Exception:
            # The stream has begun: its status can no longer say that anything went wrong.
            logger.exception("a stream of events failed")
            await self.send(
                "error", {"message": "the app failed; its log says why", "type": "INTERNAL_ERROR"}
            )
        self._events.put_nowait(None)


Work = Callable[[Channel], Awaitable[None]]
"""Something that takes its time, and sends events meanwhile."""


async def _events(work: Work, heartbeat_seconds: float) -> AsyncGenerator[bytes]:
    """Yield what the work sends, in pieces, and a heartbeat when it sends nothing for so long."""
    channel = Channel()
    working = asyncio.ensure_future(channel.run(work))
    try:
        while True:
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    event = await channel.take()
            except TimeoutError:
                event = HEARTBEAT
            if event is None:
                return
            for begin in range(0, len(event), PIECE_BYTES):
                yield event[begin : begin + PIECE_BYTES]
    finally:
        # When the client leaves, the work ends too: nobody pays for what nobody reads.
        await stop(working)


class Stream(StreamingResponse):
    """An answer made bit by bit, which closes what it holds whatever way it ends."""

    def __init__(
        self,
        content: AsyncGenerator[bytes],
        held: AbstractContextManager[Any] | None = None,
        **options: Any,
    ) -> None:
        """Send `content`, and leave `held` afterwards."""
        super().__init__(content, **options)
        self._content = content
        self._held = held or nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        with self._held:
            try:
                await super().__call__(scope, receive, send)
            finally:
                # Otherwise it would go on until the garbage collector meets it.
                await self._content.aclose()


class EventStream(Stream):
    """The answer of a route that streams events."""

    media_type = "text/event-stream"

    def __init__(
        self,
        work: Work,
        heartbeat_seconds: float,
        held: AbstractContextManager[Any] | None = None,
    ) -> None:
        """Do the work and send its events."""
        super().__init__(
            _events(work, heartbeat_seconds),
            held,
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def stream_response(self, send: Send) -> None:
        """Send the events, until their reader has stopped reading."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALLED_SECONDS):
                await send(message)

        try:
            await super().stream_response(send_in_time)
        except TimeoutError:
            logger.info("a stream of events was given up: its reader takes nothing")


async def stop(task: asyncio.Future[Any]) -> None:
    """Cancel a task unless it has ended, and wait for its end; its outcome is not looked at."""
    if task.done():
        return
    task.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait({task})
