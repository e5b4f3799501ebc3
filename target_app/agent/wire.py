"""
The parts of a chat completion that the app reads, as pydantic models.

The SDK can build its own, complete models, but building them for every chunk of a stream takes
more processor time than everything else the app does for a chat. A value that does not fit
raises pydantic's ValidationError, which is a ValueError.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from target_app.agent.messages import Reply, ToolCall, Usage
from target_app.text import readable


class PromptDetails(BaseModel):
    """Which of the prompt's tokens were cached."""

    cached_tokens: int | None = None


class CompletionDetails(BaseModel):
    """Which of the answer's tokens are not shown."""

    reasoning_tokens: int | None = None


class TokenUsage(BaseModel):
    """Tokens as the API counts them: cached ones are also prompt tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    def apart(self) -> Usage | None:
        """Count each token under one heading only; a usage that cannot be is as good as none."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        cached = (prompt.cached_tokens or 0) if prompt else 0
        reasoning = (completion.reasoning_tokens or 0) if completion else 0
        fresh, shown = self.prompt_tokens - cached, self.completion_tokens - reasoning
        usage = Usage(fresh, cached, shown, reasoning)
        return usage if min(fresh, cached, shown, reasoning) >= 0 else None


class Function(BaseModel):
    """The function of a tool call, or a piece of one."""

    name: Any = None
    arguments: Any = None


NO_FUNCTION = Function()


class Call(BaseModel):
    """
    A tool call; in a stream a piece of the one at `index`.

    Its parts may be anything: a call that is malformed is the LLM's to mend, once it is told.
    """

    index: int = 0
    id: Any = None
    function: Function | None = None

    def parts(self) -> tuple[str, str, str]:
        """Read id, name and arguments as text; what is missing is empty."""
        function = self.function or NO_FUNCTION
        return _text(self.id), _text(function.name), _text(function.arguments)


class Message(BaseModel):
    """What the LLM says, or a piece of it."""

    content: str | None = None
    tool_calls: list[Call] | None = None


class Choice(BaseModel):
    """The answer; `message` in a whole completion, `delta` in a stream."""

    # No empty message as a default: pydantic copies it, deeply, for every piece of a stream.
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class Completion(BaseModel):
    """A whole completion, or one chunk of a streamed one."""

    model: str = ""
    choices: list[Choice] = []
    usage: TokenUsage | None = None

    def reply(self) -> Reply:
        """Read a whole completion; raises ValueError when it says nothing."""
        message = self.choices[0].message if self.choices else None
        if message is None:
            msg = "no message"
            raise ValueError(msg)
        calls = tuple(ToolCall(*call.parts()) for call in message.tool_calls or ())
        usage = None if self.usage is None else self.usage.apart()
        return Reply(message.content or "", calls, usage, self.model)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return readable(value)
    return "" if value is None else json.dumps(value)
