"""Running the tool calls of one turn: together, but never more than the app can bear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from target_app.agent.execution import BAD_CALL_CODE, failure
from target_app.agent.messages import ToolCall, ToolResult

RunCall = Callable[[ToolCall], Awaitable[ToolResult]]
Finished = Callable[[ToolResult], Awaitable[None]]

Answer = TypeVar("Answer")


class Orchestrator:
    """
    Runs the calls of a turn in parallel, which is safe because every tool only reads.

    One semaphore bounds the calls of all chats of the app together; who waits longest is next.
    """

    def __init__(self, max_concurrent: int, *, parallel: bool = True) -> None:
        """
        Let at most `max_concurrent` calls run at a time, over all chats.

        Without `parallel` the calls of one turn run one after the other.
        """
        self._semaphore = asyncio.Semaphore(max_concurrent)
        self._parallel = parallel

    def runs_together(self, calls: Sequence[ToolCall]) -> bool:
        """Say whether these calls would run at the same time."""
        return self._parallel and len(calls) > 1

    async def run_turn(
        self,
        calls: Sequence[ToolCall],
        finished: Finished,
        *,
        run_call: RunCall,
        waited: Callable[[float], None] | None = None,
    ) -> tuple[ToolResult, ...]:
        """
        Run the calls and answer their results in the order of the calls.

        `finished` hears each result as soon as it is there, and `waited` how many seconds each
        call waited for its place. When one raises, the others are cancelled.
        """

        async def bounded(call: ToolCall) -> ToolResult:
            asked = time.perf_counter()
            async with self._semaphore:
                if waited is not None:
                    waited(time.perf_counter() - asked)
                result = await run_call(call)
            # The place is free again: a slow listener holds up its own chat only.
            await finished(result)
            return result

        if not self.runs_together(calls):
            return tuple([await bounded(call) for call in calls])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(bounded(call)) for call in calls]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return tuple(task.result() for task in tasks)

    async def run_beside(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Run what is no tool call but as much of a burden: it takes a place as they do."""
        async with self._semaphore:
            return await work()


def answering_refusals(run_call: RunCall) -> RunCall:
    """Wrap `run_call` so that a call that carries a refusal is answered with it and never run."""

    async def run(call: ToolCall) -> ToolResult:
        if not call.refusal:
            return await run_call(call)
        result = failure(call.name, call.refusal, BAD_CALL_CODE)
        return ToolResult(call, result, "error")

    return run
