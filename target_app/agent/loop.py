"""
The tool-calling loop: ask the LLM, run the tools it wants, tell it the results, ask again.

A plain function over messages, an LLM and something that runs tools. It counts nothing, traces
nothing and keeps nothing; what wants to know listens to its events or wraps what it is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from target_app.agent.conversation import Conversation, take_calls
from target_app.agent.llm import LLM
from target_app.agent.messages import (
    Ending,
    Event,
    IterationStarted,
    LimitReached,
    Message,
    Outcome,
    Prompt,
    Token,
    ToolCall,
    ToolFinished,
    ToolResult,
    ToolsRequested,
    Usage,
)
from target_app.agent.orchestrator import Finished
from target_app.text import readable

FINDINGS = 5
FINDING_CHARACTERS = 300
"""How many results, and how much of each, an unfinished answer repeats."""

KEPT_CHARACTERS = 4 * 1024 * 1024
LEAST_KEPT_CHARACTERS = 4 * FINDING_CHARACTERS
"""How much output of all results of a chat is kept, and how much of each in any case."""

Listener = Callable[[Event], Awaitable[None]]


class RunTurn(Protocol):
    """Runs the tool calls of one turn."""

    async def __call__(
        self, calls: Sequence[ToolCall], finished: Finished
    ) -> tuple[ToolResult, ...]:
        """
        Run the calls, and answer their results in the order of the calls.

        Each result is handed to `finished` as soon as it is there. A call that fails is a result
        that says so, never an exception.
        """
        ...


async def run_loop(
    messages: Sequence[Message],
    *,
    llm: LLM,
    tools: list[Message],
    run_turn: RunTurn,
    max_iterations: int,
    listener: Listener,
    stream: bool,
) -> Outcome:
    """
    Answer the conversation, using tools at most `max_iterations` times.

    Raises LLMError when the LLM fails.
    """
    conversation = Conversation(messages)
    ids: set[str] = set()
    usage = Usage()
    results: list[ToolResult] = []
    room = KEPT_CHARACTERS

    async def on_token(text: str) -> None:
        await listener(Token(text))

    async def finished(result: ToolResult) -> None:
        await listener(ToolFinished(result))

    for iteration in range(1, max_iterations + 1):
        await listener(IterationStarted(iteration))
        prompt = Prompt(conversation.messages(), tools)
        reply = await llm.call(prompt, on_token if stream else None)
        usage += reply.usage or Usage()
        if not reply.tool_calls:
            answer = readable(reply.content)
            return Outcome(Ending.SUCCESS, answer, iteration, usage, tuple(results))
        calls = take_calls(reply.tool_calls, ids)
        await listener(ToolsRequested(calls))
        turn = await run_turn(calls, finished)
        conversation.add_turn(reply, turn)
        for result in turn:
            results.append(_kept(result, room))
            room -= len(results[-1].result.stdout)

    await listener(LimitReached(max_iterations))
    answer = _unfinished(max_iterations, results)
    if stream:
        await on_token(answer)
    return Outcome(Ending.MAX_ITERATIONS, answer, max_iterations, usage, tuple(results))


def _kept(result: ToolResult, room: int) -> ToolResult:
    """Cut the output of a result to the room there is, and say so beside it."""
    output = result.result.stdout
    kept = output[: max(room, LEAST_KEPT_CHARACTERS)]
    if len(kept) == len(output):
        return result
    note = (
        f"output cut from {len(output)} characters: "
        f"the results of a chat may come to {KEPT_CHARACTERS}"
    )
    stderr = f"{result.result.stderr}; {note}" if result.result.stderr else note
    cut = dataclasses.replace(result.result, stdout=kept, stderr=stderr)
    return dataclasses.replace(result, result=cut)


def _unfinished(iterations: int, results: Sequence[ToolResult]) -> str:
    """Say honestly that there is no answer, and what was seen last."""
    failed = sum(not result.result.success for result in results)
    said = (
        f"I stopped after {iterations} steps without reaching an answer: "
        f"the limit of tool calls was reached. I ran {len(results)} tool calls"
        f"{f', of which {failed} failed' if failed else ''}."
    )
    found = [result for result in results if result.result.success and result.result.stdout]
    if not found:
        return f"{said} They found nothing."
    findings = "\n".join(
        f"- {_excerpt(result.result.command)}: {_excerpt(result.result.stdout)}"
        for result in found[-FINDINGS:]
    )
    return f"{said} What was found last:\n{findings}"


def _excerpt(text: str) -> str:
    # Cut first: flattening a megabyte to show three hundred characters of it takes a while.
    flat = " ".join(text[:LEAST_KEPT_CHARACTERS].split())
    return flat if len(flat) <= FINDING_CHARACTERS else f"{flat[:FINDING_CHARACTERS]}..."
