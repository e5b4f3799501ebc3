"""Calls of a turn run together, in bounds, and answer in order."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from target_app.agent.messages import ToolCall, ToolResult
from target_app.agent.orchestrator import Orchestrator, answering_refusals
from target_app.sandbox.result import CommandResult

pytestmark = pytest.mark.anyio

CALLS = [ToolCall(str(number), "ls", "{}") for number in range(4)]


def done(call: ToolCall) -> ToolResult:
    return ToolResult(call, CommandResult(True, "", "", 0, "ls"), "success")


async def ignore(_: ToolResult) -> None:
    pass


async def test_calls_run_at_the_same_time_and_answer_in_order() -> None:
    together = asyncio.Barrier(len(CALLS))
    ended: list[str] = []

    async def run_call(call: ToolCall) -> ToolResult:
        # Nobody passes before all are here; then they end in an order of their own.
        place = await together.wait()
        for _ in range(len(CALLS) - place):
            await asyncio.sleep(0)
        return done(call)

    async def finished(result: ToolResult) -> None:
        ended.append(result.call.id)

    results = await Orchestrator(4).run_turn(CALLS, finished, run_call=run_call)

    assert [result.call for result in results] == CALLS
    assert sorted(ended) == ["0", "1", "2", "3"] != ended


async def test_a_result_is_heard_while_others_still_run() -> None:
    heard = asyncio.Event()

    async def run_call(call: ToolCall) -> ToolResult:
        if call.id == "0":
            await heard.wait()
        return done(call)

    async def finished(result: ToolResult) -> None:
        if result.call.id == "3":
            heard.set()

    results = await Orchestrator(4).run_turn(CALLS, finished, run_call=run_call)

    assert len(results) == 4


@dataclass
class Running:
    """Counts how many calls run at a time."""

    now: int = 0
    most: int = 0
    order: list[str] = field(default_factory=list)

    async def __call__(self, call: ToolCall) -> ToolResult:
        self.order.append(call.id)
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return done(call)


async def test_turns_of_different_chats_share_one_bound() -> None:
    running = Running()

    orchestrator = Orchestrator(3)
    await asyncio.gather(
        *(orchestrator.run_turn(CALLS, ignore, run_call=running) for _ in range(3))
    )

    assert running.most == 3


async def test_other_work_shares_the_bound_of_the_calls() -> None:
    running = Running()
    orchestrator = Orchestrator(3)

    async def work() -> str:
        await running(CALLS[0])
        return "done"

    *_, said = await asyncio.gather(
        orchestrator.run_turn(CALLS, ignore, run_call=running),
        *(orchestrator.run_beside(work) for _ in range(4)),
    )

    assert (running.most, len(running.order), said) == (3, 8, "done")


async def test_without_parallel_execution_calls_run_one_after_the_other() -> None:
    running = Running()
    orchestrator = Orchestrator(4, parallel=False)

    results = await orchestrator.run_turn(CALLS, ignore, run_call=running)

    assert (running.most, running.order) == (1, ["0", "1", "2", "3"])
    assert [result.call for result in results] == CALLS
    assert not orchestrator.runs_together(CALLS)


async def test_a_call_alone_is_not_a_parallel_one() -> None:
    assert Orchestrator(4).runs_together(CALLS)
    assert not Orchestrator(4).runs_together(CALLS[:1])


async def test_each_call_tells_how_long_it_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    waits: list[float] = []
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    async def run_call(call: ToolCall) -> ToolResult:
        nonlocal now
        now += 2.0
        return done(call)

    # One place and four calls that ask for it at once: the last one waits for three others.
    async def start_together(call: ToolCall) -> ToolResult:
        await asyncio.sleep(0)
        return await run_call(call)

    await Orchestrator(1).run_turn(CALLS, ignore, run_call=start_together, waited=waits.append)

    assert waits == [0.0, 2.0, 4.0, 6.0]


async def test_a_slow_listener_does_not_hold_a_place() -> None:
    listening = asyncio.Event()
    orchestrator = Orchestrator(1)

    async def stuck(_: ToolResult) -> None:
        listening.set()
        await asyncio.Event().wait()

    slow = asyncio.ensure_future(orchestrator.run_turn(CALLS[:1], stuck, run_call=Running()))
    await listening.wait()
    (result,) = await orchestrator.run_turn(CALLS[1:2], ignore, run_call=Running())
    slow.cancel()

    assert result == done(CALLS[1])


async def test_when_one_call_breaks_the_others_are_stopped() -> None:
    stopped: list[str] = []

    async def run_call(call: ToolCall) -> ToolResult:
        if call.id == "3":
            raise ZeroDivisionError
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(call.id)
            raise
        raise AssertionError

    with pytest.raises(ZeroDivisionError):
        await Orchestrator(4).run_turn(CALLS, ignore, run_call=run_call)

    assert sorted(stopped) == ["0", "1", "2"]


async def test_places_are_free_again_after_a_turn_was_given_up() -> None:
    orchestrator = Orchestrator(2)
    begun = asyncio.Event()

    async def hang(_: ToolCall) -> ToolResult:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    given_up = asyncio.ensure_future(orchestrator.run_turn(CALLS, ignore, run_call=hang))
    await begun.wait()
    given_up.cancel()
    await asyncio.wait({given_up})

    assert len(await orchestrator.run_turn(CALLS, ignore, run_call=Running())) == 4


async def test_a_refused_call_is_answered_and_not_run() -> None:
    running = Running()
    run_call = answering_refusals(running)

    refused = await run_call(ToolCall("1", "ls", "{}", refusal="too many"))
    ran = await run_call(CALLS[0])

    assert running.order == ["0"]
    assert ran == done(CALLS[0])
    assert (refused.status, refused.result.success, refused.result.error) == (
        "error",
        False,
        "too many",
    )
