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
from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)

QUEUED_EVENTS = 256
"""Events a slow reader may be behind before the work waits for it."""

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
    """Takes events from the work. Sending waits while the reader is far behind."""

    def __init__(self) -> None:
        """Begin without events."""
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED_EVENTS)

    async def send(self, name: str, data: dict[str, Any]) -> None:
        """Send one event."""
        text = json.dumps(data, ensure_ascii=False)
        await self.queue.put(f"event: {name}\ndata: {text}\n\n".encode(errors="replace"))

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
        await self.queue.put(None)


Work = Callable[[Channel], Awaitable[None]]
"""Something that takes its time, and sends events meanwhile."""


async def _events(work: Work, heartbeat_seconds: float) -> AsyncGenerator[bytes]:
    """Yield what the work sends, and a heartbeat whenever it has sent nothing for that long."""
    channel = Channel()
    working = asyncio.ensure_future(channel.run(work))
    try:
        while True:
            try:
                async with asyncio.timeout(heartbeat_seconds):
                    event = await channel.queue.get()
            except TimeoutError:
                event = HEARTBEAT
            if event is None:
                return
            yield event
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


async def stop(task: asyncio.Future[Any]) -> None:
    """Cancel a task unless it has ended, and wait for its end; its outcome is not looked at."""
    if task.done():
        return
    task.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait({task})
