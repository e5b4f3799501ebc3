"""How to ask an agent app, and how to read its answer: the chat API of the Filesystem Agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.load import sse

CHAT = "/api/chat"
STREAM = "/api/chat/stream"
CACHE = "/api/cache"
HEALTH = "/health"


class BadAnswerError(ValueError):
    """The server answered, but not what its API promises."""


class BrokenStreamError(ValueError):
    """A stream ended before its last event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client learns from an answer; None where the app does not say."""

    text: str
    session_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    llm_calls: int | None = None
    tool_calls: int | None = None
    first_token: float | None = None


def question(message: str, session_id: str | None) -> dict[str, str]:
    """Write the body of a chat request."""
    return {"message": message} | ({"session_id": session_id} if session_id else {})


def read_answer(body: bytes) -> Answer:
    """Read the answer of a chat; raises BadAnswerError when it is not one."""
    fields = _object(body)
    if not isinstance(fields.get("response"), str):
        raise BadAnswerError("the answer has no text in its field 'response'")
    usage = _usage(fields.get("usage"))
    calls = fields.get("tool_calls")
    return Answer(
        text=fields["response"],
        session_id=fields.get("session_id"),
        input_tokens=_count(usage, "input_tokens"),
        output_tokens=_count(usage, "output_tokens"),
        llm_calls=_llm_calls(fields),
        tool_calls=len(calls) if isinstance(calls, list) else None,
    )


def read_stream(readline: Callable[[], bytes], now: Callable[[], float]) -> Answer:
    """
    Read a streamed chat to its end, noting when the first token came.

    Raises BrokenStreamError when it ends early, BadAnswerError for an error event.
    """
    text, first_token = "", None
    usage: dict[str, Any] = {}
    done: dict[str, Any] | None = None
    for event in sse.events(readline):
        if event.name not in ("token", "usage", "done", "error"):
            continue
        data = _object(event.data)
        if event.name == "token":
            first_token = first_token or now()
            text += str(data.get("content", ""))
        elif event.name == "usage":
            usage = data
        elif event.name == "done":
            done = data
        else:
            raise BadAnswerError(f"error event: {data.get('message', 'without a message')}")
    if done is None:
        raise BrokenStreamError("the stream ended without its done event")
    return Answer(
        text=text,
        session_id=done.get("session_id"),
        input_tokens=_count(usage, "input_tokens"),
        output_tokens=_count(usage, "output_tokens"),
        llm_calls=_llm_calls(done),
        tool_calls=_count(done, "tool_calls_count"),
        first_token=first_token,
    )


def _usage(value: Any) -> dict[str, Any]:
    """Take the usage of an answer, which not every app gives."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadAnswerError("the field 'usage' is not an object")
    return value


def _llm_calls(fields: dict[str, Any]) -> int | None:
    """Take the LLM calls that were made; without retries each iteration made one."""
    return _count(fields, "llm_calls" if "llm_calls" in fields else "iterations")


def _count(fields: dict[str, Any], name: str) -> int | None:
    """Take a whole number, or None where the app does not say."""
    value = fields.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise BadAnswerError(f"the field {name!r} is {value!r}, not a count")


def _object(text: bytes | str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise BadAnswerError(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadAnswerError("not a JSON object")
    return fields
