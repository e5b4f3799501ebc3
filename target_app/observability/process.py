"""How busy the process is: the lag of its event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from prometheus_client import Histogram

LOOK_SECONDS = 0.25


@asynccontextmanager
async def lag_measured(
    lag: Histogram,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[None]:
    """
    Observe, while the block lasts, how much later than wanted the event loop runs what is due.

    About four times a second, in seconds. Whoever holds the loop for long, holds up every
    request for as long; it is seen here even when no request is under way.
    """

    async def look_for_ever() -> None:
        while True:
            due = clock() + LOOK_SECONDS
            await sleep(LOOK_SECONDS)
            lag.observe(max(0.0, clock() - due))

    task = asyncio.ensure_future(look_for_ever())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
