"""What passes between the loop, the LLM and the tools: plain values, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from target_app.sandbox.result import Block, CommandResult, Status

Message = dict[str, Any]
"""One chat message in the shape of the chat completions API."""


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Tokens of one LLM call or more, each counted under exactly one heading.

    `input` leaves out the cached ones and `output` the reasoning ones; `total` is all four.
    """

    input: int = 0
    cached_input: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def all_input(self) -> int:
        """Tokens of the prompt, cached or not."""
        return self.input + self.cached_input

    @property
    def all_output(self) -> int:
        """Tokens of the answer, shown or not."""
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        """Every token."""
        return self.all_input + self.all_output

    def __add__(self, other: Usage) -> Usage:
        """Add call to call."""
        return Usage(
            self.input + other.input,
            self.cached_input + other.cached_input,
            self.output + other.output,
            self.reasoning + other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    A tool call as the LLM asked for it; `arguments` is the JSON text it wrote.

    `refusal` says why the call may not run at all; it is empty for one that may.
    """

    id: str
    name: str
    arguments: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """
    What one LLM call is given. `headers` go on the wire, for trace context.

    `timeout_seconds` bounds the whole call, to the last piece of its answer; None is no bound.
    `broke_off` hears what had come of a streamed answer that does not reach its end, before the
    call raises: somebody pays for that, too.
    """

    messages: list[Message]
    tools: list[Message]
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float | None = None
    broke_off: Callable[[Reply], None] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """
    What one LLM call gave: text, or tool calls.

    `usage` is None when it was not told; `usage_estimated` says that it was counted here instead.
    """

    content: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage | None
    model: str
    usage_estimated: bool = False


@dataclass(frozen=True, slots=True)
class ToolResult:
    """
    What a tool call came to.

    `cache_hit` is None when no cache was asked; `blocked` says which rule refused the call.
    """

    call: ToolCall
    result: CommandResult
    status: Status
    cache_hit: bool | None = None
    blocked: Block | None = None


class Ending(StrEnum):
    """How a chat ended. A closed set, because it is a metric label."""

    SUCCESS = "success"
    MAX_ITERATIONS = "max_iterations"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a chat came to, when it came to an answer."""

    ending: Ending
    answer: str
    iterations: int
    usage: Usage
    tool_results: tuple[ToolResult, ...]


@dataclass(frozen=True, slots=True)
class IterationStarted:
    """The LLM is about to be asked for the nth time."""

    iteration: int


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer, as it was streamed."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolsRequested:
    """The LLM asked for these calls; they are about to run."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call has ended; the ones of its turn that took longer are still to come."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The loop stops here without an answer of the LLM."""

    iterations: int


Event = IterationStarted | Token | ToolsRequested | ToolFinished | LimitReached
