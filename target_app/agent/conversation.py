"""
What the LLM reads: a conversation bounded in every direction, in shapes that its API takes.

What an LLM writes is not to be trusted to be well-formed: calls without a name or an id, the same
id twice, a megabyte of arguments or a thousand calls are taken in, made harmless and answered.
Sizes are in characters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from target_app.agent.messages import Message, Reply, ToolCall, ToolResult
from target_app.text import readable

RESULT_LINES = 200
RESULT_CHARACTERS = 20_000
"""How much of one tool result the LLM is told; the caller gets more of it."""

TURN_CHARACTERS = 200_000
"""How much the results of one turn may come to; they share it equally."""

CONVERSATION_CHARACTERS = 400_000
"""How much the turns before the last one may come to, about 100,000 tokens."""

MAX_CALLS = 32
"""How many tool calls of one turn are run."""

MOST_CALLS = 4 * MAX_CALLS
"""How many tool calls of one turn are answered at all."""

ARGUMENTS_CHARACTERS = 10_000
NAME_CHARACTERS = 64
ID_CHARACTERS = 64

LEFT_OUT = "[left out to keep the conversation short; call the tool again if you need it]"
KEPT_ARGUMENTS_CHARACTERS = 200
"""How long the arguments of a call may be that are repeated after its result was left out."""

NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")


def take_calls(calls: Sequence[ToolCall], taken: set[str]) -> tuple[ToolCall, ...]:
    """
    Take in the calls of one turn: each with an id of its own, and bounded.

    An id that is missing or already among `taken` is replaced, and each is added to `taken`. A
    call that is too many or too long carries a refusal. Beyond MOST_CALLS even refusing costs
    more than it says, and calls are dropped.
    """
    return tuple(_take(call, position, taken) for position, call in enumerate(calls[:MOST_CALLS]))


def _take(call: ToolCall, position: int, taken: set[str]) -> ToolCall:
    refusal = ""
    if position >= MAX_CALLS:
        refusal = f"only the first {MAX_CALLS} tool calls of a turn are run; ask again"
    elif len(call.arguments) > ARGUMENTS_CHARACTERS:
        refusal = (
            f"the arguments have {len(call.arguments)} characters; "
            f"at most {ARGUMENTS_CHARACTERS} are taken"
        )
    own = readable(call.id[:ID_CHARACTERS])
    if not own or own in taken:
        own = f"{own or 'call'}-{len(taken)}"
    while own in taken:
        own += "-"
    taken.add(own)
    return ToolCall(
        own,
        readable(call.name[:NAME_CHARACTERS]),
        readable(call.arguments[:ARGUMENTS_CHARACTERS]),
        refusal,
    )


class Conversation:
    """The messages of one chat, growing by turns; the oldest turns are shortened first."""

    def __init__(self, messages: Sequence[Message]) -> None:
        """Begin with what was said before, all of which is kept."""
        self._messages = list(messages)
        self._shortened = self._last_turn = len(messages)
        self._size = 0

    def messages(self) -> list[Message]:
        """Copy the messages: what the LLM was asked stays what it was while the chat goes on."""
        return list(self._messages)

    def add_turn(self, reply: Reply, results: Sequence[ToolResult]) -> None:
        """Add what the LLM asked for and what its calls came to, in the order of the calls."""
        self._last_turn = len(self._messages)
        share = min(RESULT_CHARACTERS, TURN_CHARACTERS // max(1, len(results)))
        self._messages.append(_asked(reply, results))
        self._messages += (_told(result, share) for result in results)
        self._size += sum(map(_size, self._messages[self._last_turn :]))
        while self._size > CONVERSATION_CHARACTERS and self._shortened < self._last_turn:
            message = self._messages[self._shortened]
            short = _shortened(message)
            self._size += _size(short) - _size(message)
            self._messages[self._shortened] = short
            self._shortened += 1


def told_text(result: ToolResult, characters: int = RESULT_CHARACTERS) -> str:
    """Say what the LLM reads of a result: the output, cut with a note, or what went wrong."""
    if not result.result.success:
        return _cut(f"Error: {result.result.error}", characters)
    text = result.result.stdout
    if text:
        shown = _cut(text, characters)
    else:
        shown = "(no output: nothing was found)" if result.result.return_code else "(empty)"
    return f"{shown}\n[{result.result.stderr}]" if result.result.stderr else shown


def _cut(text: str, characters: int) -> str:
    lines = text.count("\n") + 1
    if lines <= RESULT_LINES and len(text) <= characters:
        return text
    shown = "\n".join(text.split("\n", RESULT_LINES)[:RESULT_LINES])[:characters]
    return (
        f"{shown}\n[cut: the output has {lines} lines and {len(text)} characters; "
        f"narrow the search or use head and tail]"
    )


def _asked(reply: Reply, results: Sequence[ToolResult]) -> Message:
    """Turn the LLM's own words into a message that its API takes back."""
    return {
        "role": "assistant",
        "content": reply.content[:RESULT_CHARACTERS] or None,
        "tool_calls": [_call(result.call) for result in results],
    }


def _call(call: ToolCall) -> Message:
    # An API refuses a conversation with a name that no function can have.
    name = NOT_IN_A_NAME.sub("_", call.name) or "unnamed"
    arguments = "{}" if call.refusal else call.arguments
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _told(result: ToolResult, characters: int) -> Message:
    """Turn a tool result into the message that tells the LLM."""
    text = told_text(result, characters)
    return {"role": "tool", "tool_call_id": result.call.id, "content": text}


def _size(message: Message) -> int:
    calls = message.get("tool_calls", ())
    return len(message["content"] or "") + sum(len(_arguments(call)) for call in calls)


def _shortened(message: Message) -> Message:
    """Say the same without what is long in it; calls and results stay paired."""
    if message["role"] == "tool":
        return message if _size(message) <= len(LEFT_OUT) else message | {"content": LEFT_OUT}
    calls = [
        call
        if len(_arguments(call)) <= KEPT_ARGUMENTS_CHARACTERS
        else call | {"function": call["function"] | {"arguments": "{}"}}
        for call in message["tool_calls"]
    ]
    return message | {"content": None, "tool_calls": calls}


def _arguments(call: Message) -> str:
    text: str = call["function"]["arguments"]
    return text
