"""The loop asks, runs tools, tells the results, and ends in one of the known ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.loop import (
    KEPT_CHARACTERS,
    LEAST_KEPT_CHARACTERS,
    RunTurn,
    run_loop,
)
from target_app.agent.messages import (
    Ending,
    Event,
    IterationStarted,
    LimitReached,
    Outcome,
    Prompt,
    Reply,
    Token,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolsRequested,
    Usage,
)
from target_app.agent.orchestrator import Finished
from target_app.sandbox.result import CommandResult

pytestmark = pytest.mark.anyio

LS = ToolCall("1", "ls", "{}")
CAT = ToolCall("2", "cat", '{"path":"a"}')
USAGE = Usage(input=8, cached_input=2, output=3, reasoning=1)


def succeeded(call: ToolCall, stdout: str = "out", return_code: int = 0) -> ToolResult:
    result = CommandResult(True, stdout, "", return_code, call.name)
    return ToolResult(call, result, "success")


async def run_turn(calls: Sequence[ToolCall], finished: Finished) -> tuple[ToolResult, ...]:
    """Run the calls; the last one ends first."""
    results = tuple(succeeded(call, f"{call.name} said this") for call in calls)
    for result in reversed(results):
        await finished(result)
    return results


@dataclass
class Script:
    """An LLM that says one thing after the other."""

    turns: list[Any]
    prompts: list[Prompt] = field(default_factory=list)

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        self.prompts.append(prompt)
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        if isinstance(turn, tuple):
            return Reply("", turn, USAGE, "m")
        if on_token is not None:
            await on_token(turn)
        return Reply(turn, (), USAGE, "m")


async def run(
    llm: Script, *, stream: bool = False, limit: int = 10, run_turn: RunTurn = run_turn
) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []

    async def listen(event: Event) -> None:
        events.append(event)

    outcome = await run_loop(
        [{"role": "user", "content": "q"}],
        llm=llm,
        tools=[{"type": "function"}],
        run_turn=run_turn,
        max_iterations=limit,
        listener=listen,
        stream=stream,
    )
    return outcome, events


async def test_an_answer_without_tools() -> None:
    outcome, events = await run(Script(["hello"]))

    assert outcome == Outcome(Ending.SUCCESS, "hello", 1, USAGE, ())
    assert events == [IterationStarted(1)]


async def test_tools_are_run_and_their_results_told() -> None:
    llm = Script([(LS, CAT), "done"])

    outcome, events = await run(llm)

    results = (succeeded(LS, "ls said this"), succeeded(CAT, "cat said this"))
    assert outcome == Outcome(Ending.SUCCESS, "done", 2, USAGE + USAGE, results)
    assert events == [
        IterationStarted(1),
        ToolsRequested((LS, CAT)),
        ToolFinished(results[1]),
        ToolFinished(results[0]),
        IterationStarted(2),
    ]
    assert llm.prompts[1].messages == [
        {"role": "user", "content": "q"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "ls", "arguments": "{}"}},
                {
                    "id": "2",
                    "type": "function",
                    "function": {"name": "cat", "arguments": '{"path":"a"}'},
                },
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "ls said this"},
        {"role": "tool", "tool_call_id": "2", "content": "cat said this"},
    ]


async def test_what_the_llm_was_asked_does_not_change_afterwards() -> None:
    llm = Script([(LS,), "done"])

    await run(llm)

    assert llm.prompts[0].messages == [{"role": "user", "content": "q"}]


async def test_at_the_limit_the_answer_says_what_was_found() -> None:
    outcome, events = await run(Script([(LS,), (CAT,)]), limit=2)

    assert (outcome.ending, outcome.iterations) == (Ending.MAX_ITERATIONS, 2)
    assert outcome.answer == (
        "I stopped after 2 steps without reaching an answer: the limit of tool calls was "
        "reached. I ran 2 tool calls. What was found last:\n"
        "- ls: ls said this\n"
        "- cat: cat said this"
    )
    assert events[-1] == LimitReached(2)


async def test_streamed_pieces_are_heard_and_so_is_an_unfinished_answer() -> None:
    _, streamed = await run(Script(["hello"]), stream=True)
    outcome, limited = await run(Script([(LS,)]), stream=True, limit=1)

    assert streamed == [IterationStarted(1), Token("hello")]
    assert limited[-1] == Token(outcome.answer)


async def test_a_failing_llm_ends_the_loop() -> None:
    with pytest.raises(LLMError, match="gone"):
        await run(Script([LLMError("timeout", "gone")]))


async def test_an_answer_at_the_limit_says_how_many_calls_failed() -> None:
    async def fail(calls: Sequence[ToolCall], finished: Finished) -> tuple[ToolResult, ...]:
        gone = CommandResult(False, "", "gone", 1, "ls", "gone")
        return tuple(ToolResult(call, gone, "error") for call in calls)

    outcome, _ = await run(Script([(LS, CAT)]), limit=1, run_turn=fail)

    assert outcome.answer == (
        "I stopped after 1 steps without reaching an answer: the limit of tool calls was "
        "reached. I ran 2 tool calls, of which 2 failed. They found nothing."
    )


async def test_an_answer_at_the_limit_is_short_whatever_was_found() -> None:
    async def find_much(calls: Sequence[ToolCall], finished: Finished) -> tuple[ToolResult, ...]:
        return tuple(succeeded(call, "line\n" * 200_000) for call in calls)

    outcome, _ = await run(Script([(LS,)] * 10), limit=10, run_turn=find_much)

    assert outcome.answer.count("\n- ls: line line") == 5
    assert len(outcome.answer) < 2000


MUCH = "x" * 1024 * 1024


async def read_much(calls: Sequence[ToolCall], finished: Finished) -> tuple[ToolResult, ...]:
    """Answer a megabyte to each call."""
    return tuple(succeeded(call, MUCH) for call in calls)


async def test_what_is_kept_of_a_chat_is_bounded() -> None:
    outcome, _ = await run(Script([(LS,) * 32] * 9 + ["done"]), run_turn=read_much)

    results = [result.result for result in outcome.tool_results]
    assert [len(result.stdout) for result in results] == (
        [1024 * 1024] * 4 + [LEAST_KEPT_CHARACTERS] * (9 * 32 - 4)
    )
    assert {result.stderr for result in results[:4]} == {""}
    assert {result.stderr for result in results[4:]} == {
        f"output cut from 1048576 characters: the results of a chat may come to {KEPT_CHARACTERS}"
    }
    assert {result.success for result in results} == {True}


async def test_a_note_is_kept_when_its_output_is_cut() -> None:
    async def read(calls: Sequence[ToolCall], finished: Finished) -> tuple[ToolResult, ...]:
        noted = CommandResult(True, "x" * (KEPT_CHARACTERS + 1), "lines cut", 0, "cat")
        return tuple(ToolResult(call, noted, "success") for call in calls)

    outcome, _ = await run(Script([(CAT,), "done"]), run_turn=read)

    (result,) = (result.result for result in outcome.tool_results)
    assert len(result.stdout) == KEPT_CHARACTERS
    assert result.stderr.startswith("lines cut; output cut from 4194305 characters: ")


async def test_the_llm_and_the_listener_hear_as_much_of_a_late_result_as_of_an_early_one() -> None:
    async def read(calls: Sequence[ToolCall], finished: Finished) -> tuple[ToolResult, ...]:
        results = await read_much(calls, finished)
        for result in results:
            await finished(result)
        return results

    llm = Script([(LS,)] * 9 + ["done"])

    _, events = await run(llm, run_turn=read)

    told = {m["content"] for m in llm.prompts[-1].messages if m["role"] == "tool"}
    heard = [len(e.result.result.stdout) for e in events if isinstance(e, ToolFinished)]
    assert len(told) == 1
    assert heard == [1024 * 1024] * 9


async def test_an_answer_at_the_limit_shows_what_was_found_after_the_bound() -> None:
    turns: list[tuple[ToolCall, ...]] = [(LS,) * 32, (CAT,)]

    outcome, _ = await run(Script(turns), limit=2, run_turn=read_much)

    assert outcome.answer.endswith(f"- cat: {'x' * 300}...")


async def test_calls_with_the_same_id_each_get_their_own_result() -> None:
    llm = Script([(ToolCall("1", "ls", "{}"), ToolCall("1", "cat", "{}")), "done"])

    outcome, _ = await run(llm)

    told = {
        m["tool_call_id"]: m["content"] for m in llm.prompts[1].messages if m["role"] == "tool"
    }
    asked = [call["id"] for call in llm.prompts[1].messages[1]["tool_calls"]]
    assert told == {"1": "ls said this", "1-1": "cat said this"}
    assert asked == list(told) == [result.call.id for result in outcome.tool_results]


async def test_an_error_of_the_app_itself_is_not_hidden() -> None:
    async def break_down(calls: Sequence[ToolCall], finished: Finished) -> tuple[ToolResult, ...]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(Script([(LS,), "never said"]), run_turn=break_down)
