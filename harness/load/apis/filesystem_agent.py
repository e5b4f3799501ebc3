"""The chat API of the Filesystem Agent, the reference app."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.credentials import target_headers
from harness.load.chat_api import (
    Answer,
    BadAnswerError,
    BrokenStreamError,
    Conversation,
    Pieces,
    streamed,
)
from harness.load.fields import count, json_object, word
from harness.load.sse import Event

CHAT = "/api/chat"
STREAM = "/api/chat/stream"


@dataclass(frozen=True, slots=True)
class FilesystemAgent:
    """Whole answers from /api/chat, streamed ones from /api/chat/stream; sessions in the app."""

    name: ClassVar[str] = "filesystem-agent"

    def path(self, *, stream: bool) -> str:
        """Where questions go, below --host."""
        return STREAM if stream else CHAT

    def headers(self) -> dict[str, str]:
        """Give what the environment holds for the target."""
        return target_headers()

    def body(
        self, message: str, conversation: Conversation | None, *, stream: bool
    ) -> dict[str, str]:
        """Write the body of a question; the app remembers the conversation by its session."""
        del stream
        if conversation is None or conversation.session_id is None:
            return {"message": message}
        return {"message": message, "session_id": conversation.session_id}

    def read_answer(self, body: bytes) -> Answer:
        """Read the answer of a chat; raises BadAnswerError when it is not one."""
        fields = json_object(body)
        text = fields.get("response")
        if not isinstance(text, str):
            raise BadAnswerError("the answer has no text in its field 'response'")
        usage = _usage(fields.get("usage"))
        calls = fields.get("tool_calls")
        return Answer(
            text=text,
            session_id=word(fields.get("session_id")),
            input_tokens=count(usage.get("input_tokens"), "input_tokens"),
            output_tokens=count(usage.get("output_tokens"), "output_tokens"),
            llm_calls=_llm_calls(fields),
            tool_calls=len(calls) if isinstance(calls, list) else None,
            model=word(fields.get("model")),
        )

    def read_stream(self, events: Iterable[Event], pieces: Pieces) -> Answer:
        """
        Read a streamed chat up to its done event.

        Raises BrokenStreamError when there is none, BadAnswerError for an error event.
        """
        usage: dict[str, Any] = {}
        for event in events:
            if event.name == "token":
                pieces.add(str(json_object(event.data).get("content", "")))
            elif event.name == "usage":
                usage = json_object(event.data)
            elif event.name == "error":
                told = json_object(event.data).get("message", "without a message")
                raise BadAnswerError(f"error event: {told}")
            elif event.name == "done":
                done = json_object(event.data)
                return streamed(
                    pieces,
                    session_id=word(done.get("session_id")),
                    input_tokens=count(usage.get("input_tokens"), "input_tokens"),
                    output_tokens=count(usage.get("output_tokens"), "output_tokens"),
                    llm_calls=_llm_calls(done),
                    tool_calls=count(done.get("tool_calls_count"), "tool_calls_count"),
                    model=word(done.get("model")),
                )
            elif not event.heartbeat:
                pieces.heard()  # a tool at work, or something that later versions tell
        raise BrokenStreamError("the stream ended without its done event")


def _usage(value: Any) -> dict[str, Any]:
    """Take the usage of an answer, which not every app gives."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadAnswerError("the field 'usage' is not an object")
    return value


def _llm_calls(fields: dict[str, Any]) -> int | None:
    """Take the LLM calls that were made; without retries each iteration made one."""
    name = "llm_calls" if "llm_calls" in fields else "iterations"
    return count(fields.get(name), name)
