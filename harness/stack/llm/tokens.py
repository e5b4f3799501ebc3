"""
Token counts by the real tokenizers.

Texts are counted exactly. What the API adds around them is not published in full; the constants
are those of OpenAI's guide to counting tokens for chat messages, and a tool definition counts
as its JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from bpe_openai import Encoding, get_encoding

from harness.stack.llm.conversation import Message, Tool, ToolCall

TOKENS_PER_MESSAGE = 3
TOKENS_PER_TOOL_CALL = 3
TOKENS_BEFORE_REPLY = 3
ENCODINGS = ("o200k_base", "cl100k_base")

_CL100K_MODELS = ("gpt-4-", "gpt-3.5", "gpt-35")


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one call, as it is billed; `cached` is part of `prompt`."""

    prompt: int
    cached: int
    completion: int


def encoding_name(model: str) -> str:
    """Name the encoding of a model or deployment; unknown names count as current models."""
    current, former = ENCODINGS
    return former if model == "gpt-4" or model.startswith(_CL100K_MODELS) else current


@lru_cache(maxsize=2)
def tokenizer(name: str) -> Encoding:
    """Give the tokenizer of an encoding; building one takes about 0.2 s, so each is kept."""
    return get_encoding(name)


@lru_cache(maxsize=2048)
def count(text: str, encoding: str) -> int:
    """Count the tokens of a text; remembered, since each turn repeats the turns before."""
    return len(tokenizer(encoding).encode_ordinary(text))


def message_tokens(message: Message, encoding: str) -> int:
    """Count one message of the prompt with what the API adds around it."""
    return (
        TOKENS_PER_MESSAGE
        + count(message.role, encoding)
        + count(message.text, encoding)
        + calls_tokens(message.calls, encoding)
    )


def calls_tokens(calls: Sequence[ToolCall], encoding: str) -> int:
    """Count tool calls, in a prompt or in an answer."""
    return sum(
        TOKENS_PER_TOOL_CALL + count(call.name, encoding) + count(call.arguments_json, encoding)
        for call in calls
    )


def tools_tokens(tools: Sequence[Tool], encoding: str) -> int:
    """Count the definitions of the tools offered."""
    return sum(count(json.dumps(tool.definition), encoding) for tool in tools)


def prompt_tokens(
    messages: Sequence[Message], tools: Sequence[Tool], encoding: str
) -> tuple[int, ...]:
    """Count the prompt up to and including each message; the last value is the whole prompt."""
    counts = [message_tokens(message, encoding) for message in messages]
    counts[-1] += TOKENS_BEFORE_REPLY
    return tuple(accumulate(counts, initial=tools_tokens(tools, encoding)))[1:]
