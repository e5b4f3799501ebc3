"""The loop asks, runs tools, tells the results, and ends in one of the known ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from target_app.agent.execution import failure
from target_app.agent.llm import LLMError, OnToken
from target_app.agent.loop import run_loop, told_text
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
    ToolResult,
    ToolsFinished,
    ToolsRequested,
    Usage,
)
from target_app.sandbox.result import CommandResult

pytestmark = pytest.mark.anyio

LS = ToolCall("1", "ls", "{}")
CAT = ToolCall("2", "cat", '{"path":"a"}')
USAGE = Usage(input=8, cached_input=2, output=3, reasoning=1)


def succeeded(call: ToolCall, stdout: str = "out", return_code: int = 0) -> ToolResult:
    result = CommandResult(True, stdout, "", return_code, call.name)
    return ToolResult(call, result, "success")


async def run_turn(calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
    return tuple(succeeded(call, f"{call.name} said this") for call in calls)


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
    llm: Script, *, stream: bool = False, limit: int = 10
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
        ToolsFinished(results),
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


@pytest.mark.parametrize(
    ("result", "told"),
    [
        pytest.param(succeeded(LS, "a\nb"), "a\nb", id="output as it is"),
        pytest.param(succeeded(LS, ""), "(empty)", id="an empty file"),
        pytest.param(
            succeeded(LS, "", return_code=1), "(no output: nothing was found)", id="no match"
        ),
        pytest.param(
            ToolResult(CAT, failure("cat a", "a: no such file or folder"), "error"),
            "Error: a: no such file or folder",
            id="a failure",
        ),
        pytest.param(
            succeeded(LS, "\n".join(["x"] * 201)),
            "\n".join(["x"] * 200) + "\n[cut: the output has 201 lines and 401 characters; "
            "narrow the search or use head and tail]",
            id="a line too many",
        ),
        pytest.param(
            succeeded(LS, "x" * 20_001),
            "x" * 20_000 + "\n[cut: the output has 1 lines and 20001 characters; "
            "narrow the search or use head and tail]",
            id="a character too many",
        ),
    ],
)
async def test_what_the_llm_is_told_of_a_result(result: ToolResult, told: str) -> None:
    assert told_text(result) == told
