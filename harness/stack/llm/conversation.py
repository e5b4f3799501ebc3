"""What a chat-completions request says, read once and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

Json = Mapping[str, Any]


class RequestError(Exception):
    """A request the API refuses: the HTTP status, a sentence, and the parameter at fault."""

    def __init__(
        self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None
    ) -> None:
        """Describe the refusal with the fields of the API's error object."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool: its name and its arguments."""

    name: str
    arguments: Json
    id: str = ""

    @cached_property
    def arguments_json(self) -> str:
        """The arguments as they travel."""
        return json.dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation; `answers` is the id of the tool call it answers."""

    role: str
    text: str
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the caller offers, as declared."""

    name: str
    definition: Json

    @property
    def parameters(self) -> Json:
        """The JSON schema of each argument, by name."""
        schema = self.definition.get("parameters") or {}
        return dict(schema.get("properties") or {})

    @property
    def required(self) -> tuple[str, ...]:
        """The arguments that must be given."""
        schema = self.definition.get("parameters") or {}
        return tuple(schema.get("required") or ())


@dataclass(frozen=True, slots=True)
class Conversation:
    """A whole request: who is asked, what was said, what is offered, how to answer."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    may_call: bool
    stream: bool
    include_usage: bool

    def prefixes(self) -> tuple[bytes, ...]:
        """
        Digests of the prompt up to each message; the last one stands for the whole prompt.

        Ids of tool calls are left out: they name, they do not mean, and the same question asked
        again must be recognised.
        """
        running = blake2b(digest_size=16)
        for tool in self.tools:
            running.update(json.dumps(tool.definition).encode())
        digests = []
        for message in self.messages:
            calls = [(call.name, call.arguments_json) for call in message.calls]
            running.update(repr((message.role, message.text, calls)).encode())
            digests.append(running.digest())
        return tuple(digests)


def read_conversation(body: object, deployment: str | None = None) -> Conversation:
    """
    Read the body of a request; `deployment` is the model's name when the address gives it.

    Raises RequestError for anything that cannot be served.
    """
    if not isinstance(body, dict):
        raise RequestError("The body of the request is not a JSON object.")
    model = deployment or body.get("model")
    if not isinstance(model, str) or not model:
        raise RequestError("The request names no model.", param="model")
    if body.get("n") not in (None, 1):
        raise RequestError(
            "This simulated model gives exactly one choice; 'n' must be 1.", param="n"
        )
    choice = body.get("tool_choice")
    if choice not in (None, "none", "auto"):
        raise RequestError(
            "This simulated model chooses for itself; 'tool_choice' must be 'auto' or 'none'.",
            param="tool_choice",
        )
    options = body.get("stream_options") or {}
    return Conversation(
        model=model,
        messages=_messages(body.get("messages")),
        tools=_tools(body.get("tools")),
        may_call=choice != "none",
        stream=bool(body.get("stream")),
        include_usage=isinstance(options, dict) and bool(options.get("include_usage")),
    )


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise RequestError(
            "'messages' must be an array of at least one message.", param="messages"
        )
    return tuple(_message(item, index) for index, item in enumerate(value))


def _message(item: object, index: int) -> Message:
    if not isinstance(item, dict) or not isinstance(item.get("role"), str):
        raise RequestError(
            f"'messages[{index}]' must be an object with a role.", param=f"messages[{index}]"
        )
    return Message(
        role=item["role"],
        text=_text(item.get("content"), index),
        calls=_calls(item.get("tool_calls"), index),
        answers=str(item.get("tool_call_id") or ""),
    )


def _text(content: object, index: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(str(part["text"]) for part in content if "text" in part)
    raise RequestError(
        f"'messages[{index}].content' must be a string or an array of parts.",
        param=f"messages[{index}].content",
    )


def _calls(value: object, index: int) -> tuple[ToolCall, ...]:
    try:
        return tuple(
            ToolCall(item["function"]["name"], _object(item["function"]["arguments"]), item["id"])
            for item in _list(value)
        )
    except (KeyError, TypeError, ValueError):
        raise RequestError(
            f"'messages[{index}].tool_calls' holds a call that cannot be read.",
            param=f"messages[{index}].tool_calls",
        ) from None


def _tools(value: object) -> tuple[Tool, ...]:
    try:
        return tuple(Tool(item["function"]["name"], item["function"]) for item in _list(value))
    except (KeyError, TypeError):
        raise RequestError(
            "'tools' holds a tool without a function name.", param="tools"
        ) from None


def _object(text: str) -> Json:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {type(value).__name__}")
    return value


def _list(value: object) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError(f"expected an array, not {type(value).__name__}")
    return value
