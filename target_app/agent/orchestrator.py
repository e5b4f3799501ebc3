"""Running the tool calls of one turn: together, but never more than the app can bear."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from target_app.agent.messages import ToolCall, ToolResult

RunCall = Callable[[ToolCall], Awaitable[ToolResult]]


class Orchestrator:
    """
    Runs the calls of a turn in parallel, which is safe because every tool only reads.

    One semaphore bounds the calls of all chats of the app together.
    """

    def __init__(self, max_concurrent: int) -> None:
        """Let at most `max_concurrent` calls run at a time, over all chats."""
        self._semaphore = asyncio.Semaphore(max_concurrent)

    async def run_turn(
        self, calls: Sequence[ToolCall], run_call: RunCall
    ) -> tuple[ToolResult, ...]:
        """Run the calls and answer their results in the order of the calls."""

        async def bounded(call: ToolCall) -> ToolResult:
            async with self._semaphore:
                return await run_call(call)

        return tuple(await asyncio.gather(*(bounded(call) for call in calls)))
