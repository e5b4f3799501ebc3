"""Calls of a turn run together, in bounds, and answer in order."""

from __future__ import annotations

import asyncio

import pytest

from target_app.agent.messages import ToolCall, ToolResult
from target_app.agent.orchestrator import Orchestrator
from target_app.sandbox.result import CommandResult

pytestmark = pytest.mark.anyio

CALLS = [ToolCall(str(number), "ls", "{}") for number in range(4)]


def done(call: ToolCall) -> ToolResult:
    return ToolResult(call, CommandResult(True, "", "", 0, "ls"), "success")


async def test_calls_run_at_the_same_time_and_answer_in_order() -> None:
    together = asyncio.Barrier(len(CALLS))
    ended: list[str] = []

    async def run_call(call: ToolCall) -> ToolResult:
        # Nobody passes before all are here; then they end in an order of their own.
        place = await together.wait()
        for _ in range(len(CALLS) - place):
            await asyncio.sleep(0)
        ended.append(call.id)
        return done(call)

    results = await Orchestrator(max_concurrent=4).run_turn(CALLS, run_call)

    assert [result.call for result in results] == CALLS
    assert ended != ["0", "1", "2", "3"]


async def test_turns_of_different_chats_share_one_bound() -> None:
    running = most = 0

    async def run_call(call: ToolCall) -> ToolResult:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return done(call)

    orchestrator = Orchestrator(max_concurrent=3)
    await asyncio.gather(*(orchestrator.run_turn(CALLS, run_call) for _ in range(3)))

    assert most == 3
