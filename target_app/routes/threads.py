"""Blocking work in a thread, which is never left behind, or never twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def to_end(function: Callable[[], T]) -> T:
    """
    Call a function that blocks in a thread.

    A thread cannot be cancelled. Whoever is waits here for its end, so that no descriptor is
    closed, and given to another file, while the thread still writes to it.
    """
    working = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait({working})
        # Looked at, or it would be reported as one that nobody cared for.
        working.exception()
        raise


class TimedCheck:
    """
    A check that blocks, and for ever where a network file system hangs.

    Such a thread cannot be ended, so there is never more than one: whoever asks meanwhile waits
    for the same one. For one event loop.
    """

    def __init__(self, check: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait at most `timeout_seconds` for the check, which must not raise."""
        self._check = check
        self._timeout_seconds = timeout_seconds
        self._running: asyncio.Future[bool] | None = None

    async def passes(self) -> bool:
        """Whether it passes; False too when it takes too long."""
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(asyncio.to_thread(self._check))
        running = self._running
        await asyncio.wait({running}, timeout=self._timeout_seconds)
        return running.done() and running.result()
