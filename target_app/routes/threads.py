"""Blocking work in a thread, which is never left behind."""

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
