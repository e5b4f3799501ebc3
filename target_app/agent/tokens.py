"""
The tokens of a call, counted here: for when the LLM does not tell them, or to check what it tells.

Texts are counted exactly, by the tokenizers that OpenAI publishes. What a chat adds around them is
estimated: 3 tokens a message and 3 before the answer, as OpenAI's cookbook has it ("How to count
tokens with tiktoken"), and 3 a tool call. A tool that is offered counts as its JSON, which the API
writes a little shorter. Reasoning is not shown, and so cannot be counted. With OpenAI's models a
call comes out within a few percent; other makers' models have other tokenizers, and the count is
then no more than its order of magnitude.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from target_app.agent.messages import Message, Prompt, Reply, Usage

Calls = Iterator[tuple[str, str]]
"""Tool calls: of each its name and its arguments."""

TOKENS_PER_MESSAGE = 3
TOKENS_PER_TOOL_CALL = 3
TOKENS_BEFORE_REPLY = 3

CURRENT, FORMER = "o200k_base", "cl100k_base"
FORMER_MODELS = ("gpt-4-", "gpt-3.5", "gpt-35")

PIECE_CHARACTERS = 50_000
"""Longer texts are counted in pieces: the tokenizer refuses to make more than 200,000 tokens."""

QUICK_CHARACTERS = 20_000
"""So much is counted at once: handing it to a thread takes longer, and costs more."""

REMEMBERED_TEXTS = 512
REMEMBERED_CHARACTERS = 21_000
"""A tool result fits; texts of this length take a millisecond, and a chat repeats them."""


def encoding_name(model: str) -> str:
    """Name the encoding of a model; one with an unknown name counts as a current one."""
    return FORMER if model == "gpt-4" or model.startswith(FORMER_MODELS) else CURRENT


def load_tokenizers() -> None:
    """
    Load the tokenizers now: it takes a second or two, and 165 MiB of memory.

    All of them, as an answer may name another model than was asked for. Not to be called while
    requests are served: even in a thread it holds up the event loop for a sixth of a second.
    """
    for encoding in (CURRENT, FORMER):
        _tokenizer(encoding)


async def count_aside(prompt: Prompt, reply: Reply, model: str) -> Usage:
    """
    Count the tokens of a call as `count_usage` does, in a thread if it may take a while.

    The first count of all takes a second or two, unless the tokenizers were loaded before.
    """
    if _characters(prompt, reply) <= QUICK_CHARACTERS and encoding_name(model) in _loaded:
        return count_usage(prompt, reply, model)
    return await asyncio.to_thread(count_usage, prompt, reply, model)


def count_usage(prompt: Prompt, reply: Reply, model: str) -> Usage:
    """
    Count the tokens of a call, none of them as cached and none as reasoning.

    Takes a millisecond for every 20,000 characters that are new to it.
    """
    encoding = encoding_name(model)
    asked = sum(_message_tokens(message, encoding) for message in prompt.messages)
    offered = _offered_tokens(prompt.tools, encoding)
    return Usage(
        input=asked + offered + TOKENS_BEFORE_REPLY,
        output=count(reply.content, encoding) + _calls_tokens(_wanted(reply), encoding),
    )


def count(text: str, encoding: str) -> int:
    """Count the tokens of a text. What would be a control token counts as the text it is."""
    return (_remembered if len(text) <= REMEMBERED_CHARACTERS else _count)(text, encoding)


def _characters(prompt: Prompt, reply: Reply) -> int:
    """Add up the characters to count, but for those of the tools that are offered."""
    texts = sum(len(message["content"] or "") for message in prompt.messages) + len(reply.content)
    calls = (call for message in prompt.messages for call in _called(message))
    return texts + sum(len(name) + len(arguments) for name, arguments in (*calls, *_wanted(reply)))


def _called(message: Message) -> Calls:
    """Read the tool calls that a message repeats."""
    for call in message.get("tool_calls", ()):
        yield call["function"]["name"], call["function"]["arguments"]


def _wanted(reply: Reply) -> Calls:
    """Read the tool calls that the LLM asks for."""
    return ((call.name, call.arguments) for call in reply.tool_calls)


def _message_tokens(message: Message, encoding: str) -> int:
    return (
        TOKENS_PER_MESSAGE
        + count(message["role"], encoding)
        + count(message["content"] or "", encoding)
        + _calls_tokens(_called(message), encoding)
    )


def _offered_tokens(tools: list[Message], encoding: str) -> int:
    # The app offers the same tools with every call, so they are written as JSON only once.
    known, known_encoding, tokens = _offered[0]
    if known is not tools or known_encoding != encoding:
        tokens = sum(count(json.dumps(tool["function"]), encoding) for tool in tools)
        _offered[0] = (tools, encoding, tokens)
    return tokens


_offered: list[tuple[list[Message] | None, str, int]] = [(None, "", 0)]


def _calls_tokens(calls: Calls, encoding: str) -> int:
    return sum(
        TOKENS_PER_TOOL_CALL + count(name, encoding) + count(arguments, encoding)
        for name, arguments in calls
    )


def _count(text: str, encoding: str) -> int:
    tokenizer = _tokenizer(encoding)
    return sum(
        len(tokenizer.encode_ordinary(text[start : start + PIECE_CHARACTERS]))
        for start in range(0, len(text), PIECE_CHARACTERS)
    )


_remembered = lru_cache(maxsize=REMEMBERED_TEXTS)(_count)


_loaded: dict[str, Any] = {}
_loading = threading.Lock()


def _tokenizer(encoding: str) -> Any:
    if encoding not in _loaded:
        # Threads that need it at the same time wait for the one that loads it.
        with _loading:
            # Only now: most of the time and memory is the import's, and many apps never need it.
            from bpe_openai import get_encoding  # noqa: PLC0415

            if encoding not in _loaded:
                _loaded[encoding] = get_encoding(encoding)
    return _loaded[encoding]
