"""
The tool-calling loop: ask the LLM, run the tools it wants, tell it the results, ask again.

A plain function over messages, an LLM and something that runs tools. It counts nothing, traces
nothing and keeps nothing; what wants to know listens to its events or wraps what it is given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from target_app.agent.llm import LLM
from target_app.agent.messages import (
    Ending,
    Event,
    IterationStarted,
    LimitReached,
    Message,
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

LLM_LINES = 200
LLM_CHARACTERS = 20_000
"""How much of one tool result the LLM is told; the caller gets all of it."""

FINDINGS = 5
FINDING_CHARACTERS = 300
"""How many results, and how much of each, an unfinished answer repeats."""

Listener = Callable[[Event], Awaitable[None]]


class RunTurn(Protocol):
    """Run the tool calls of one turn; results come in the order of the calls."""

    async def __call__(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Run the calls. A call that fails is a result that says so, never an exception."""
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
    conversation = list(messages)
    usage = Usage()
    results: list[ToolResult] = []

    async def on_token(text: str) -> None:
        await listener(Token(text))

    for iteration in range(1, max_iterations + 1):
        await listener(IterationStarted(iteration))
        # The LLM gets a copy: what it was asked stays what it was while the loop goes on.
        prompt = Prompt(list(conversation), tools)
        reply = await llm.call(prompt, on_token if stream else None)
        usage += reply.usage or Usage()
        if not reply.tool_calls:
            return Outcome(Ending.SUCCESS, reply.content, iteration, usage, tuple(results))
        await listener(ToolsRequested(reply.tool_calls))
        turn = await run_turn(reply.tool_calls)
        await listener(ToolsFinished(turn))
        results.extend(turn)
        conversation.append(_as_message(reply))
        conversation.extend(_told(result) for result in turn)

    await listener(LimitReached(max_iterations))
    answer = _unfinished(max_iterations, results)
    if stream:
        await on_token(answer)
    return Outcome(Ending.MAX_ITERATIONS, answer, max_iterations, usage, tuple(results))


def _as_message(reply: Reply) -> Message:
    """Turn the LLM's own words into a message of the conversation."""
    return {
        "role": "assistant",
        "content": reply.content or None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in reply.tool_calls
        ],
    }


def _told(result: ToolResult) -> Message:
    """Turn a tool result into the message that tells the LLM."""
    return {"role": "tool", "tool_call_id": result.call.id, "content": told_text(result)}


def told_text(result: ToolResult) -> str:
    """Say what the LLM reads of a result: the output, cut with a note, or what went wrong."""
    if not result.result.success:
        return f"Error: {result.result.error}"
    text = result.result.stdout
    if not text:
        return "(no output: nothing was found)" if result.result.return_code else "(empty)"
    lines = text.split("\n")
    shown = "\n".join(lines[:LLM_LINES])[:LLM_CHARACTERS]
    if len(shown) < len(text):
        shown += (
            f"\n[cut: the output has {len(lines)} lines and {len(text)} characters; "
            f"narrow the search or use head and tail]"
        )
    return shown


def _unfinished(iterations: int, results: Sequence[ToolResult]) -> str:
    """Say honestly that there is no answer, and what was seen last."""
    said = (
        f"I stopped after {iterations} steps without reaching an answer: "
        f"the limit of tool calls was reached. I ran {len(results)} tool calls."
    )
    found = [result for result in results if result.result.success and result.result.stdout]
    if not found:
        return f"{said} They found nothing."
    findings = "\n".join(
        f"- {result.result.command}: {_excerpt(result.result.stdout)}"
        for result in found[-FINDINGS:]
    )
    return f"{said} What was found last:\n{findings}"


def _excerpt(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= FINDING_CHARACTERS else f"{flat[:FINDING_CHARACTERS]}..."
