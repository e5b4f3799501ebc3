"""OpenAI's chat completions, which very many servers speak."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.credentials import openai_headers
from harness.load.apis.arguments import below_host, json_fields
from harness.load.chat_api import (
    Answer,
    BadAnswerError,
    BrokenStreamError,
    Conversation,
    Pieces,
    streamed,
)
from harness.load.fields import count, json_object, look_up, path_of, word
from harness.load.sse import Event

_END = "[DONE]"
_MESSAGE = path_of("choices[0].message")
_DELTA = path_of("choices[0].delta")
_OWN = ("model", "messages", "stream", "stream_options")
# A model also writes thoughts and tool calls: output tokens, but not of the answer's text.
_TEXTS = ("content", "refusal")
_UNSPOKEN = ("reasoning_content", "reasoning", "tool_calls")


class OpenAIChat:
    """
    Any endpoint that speaks OpenAI's chat completions, streamed or not.

    `fields` go into every request as they are, such as {"temperature": 0};
    `system` is the system prompt. The server remembers nothing, so each request
    tells the conversation so far. The token is TARGET_TOKEN or OPENAI_API_KEY;
    what a server wants by another header comes from TARGET_HEADERS.
    Source: https://platform.openai.com/docs/api-reference/chat
    """

    name = "openai-chat"

    def __init__(
        self,
        model: str,
        path: str = "/v1/chat/completions",
        *,
        system: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse what cannot be right with ValueError, naming the argument."""
        if not model or not isinstance(model, str):
            raise ValueError(f"OpenAIChat(model={model!r}): name the model, as in 'gpt-4o-mini'")
        self._path = below_host("OpenAIChat", "path", path)
        self._fields = json_fields("OpenAIChat", "fields", {} if fields is None else fields)
        for name in _OWN:
            if name in self._fields:
                raise ValueError(f"OpenAIChat(fields=...) writes {name!r} itself; leave it out")
        self._model = model
        self._before = [{"role": "system", "content": system}] if system else []

    def path(self, *, stream: bool) -> str:
        """Where questions go, below --host."""
        del stream
        return self._path

    def headers(self) -> dict[str, str]:
        """Give what the environment holds for the target."""
        return openai_headers()

    def body(
        self, message: str, conversation: Conversation | None, *, stream: bool
    ) -> dict[str, Any]:
        """Write the body of a question, after all that was said before."""
        messages = list(self._before)
        for asked, answered in conversation.turns if conversation else ():
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": answered})
        messages.append({"role": "user", "content": message})
        body = {**self._fields, "model": self._model, "messages": messages}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def read_answer(self, body: bytes) -> Answer:
        """Read a completion; raises BadAnswerError when it is not one."""
        fields = json_object(body)
        _refuse_error(fields)
        message = look_up(fields, _MESSAGE)
        if not isinstance(message, dict):
            raise BadAnswerError("the answer has no choices[0].message")
        text = next((message[name] for name in _TEXTS if message.get(name)), "")
        calls = message.get("tool_calls") or []
        if not isinstance(text, str) or not isinstance(calls, list):
            raise BadAnswerError("choices[0].message is not a message")
        if not text and not calls:
            raise BadAnswerError("the answer has no text in choices[0].message.content")
        return Answer(text=text, tool_calls=len(calls), **_told(fields))

    def read_stream(self, events: Iterable[Event], pieces: Pieces) -> Answer:
        """
        Read a streamed completion up to [DONE]; the usage comes in a chunk before it.

        Raises BrokenStreamError without [DONE], BadAnswerError for a chunk that
        is none or reports an error.
        """
        told: dict[str, Any] = {}
        calls = set[Any]()
        for event in events:
            if event.data == _END:
                return streamed(pieces, tool_calls=len(calls), **told)
            chunk = json_object(event.data)
            _refuse_error(chunk)
            told |= {name: value for name, value in _told(chunk).items() if value is not None}
            delta = look_up(chunk, _DELTA)
            if not isinstance(delta, dict):
                continue
            text = next((delta[name] for name in _TEXTS if delta.get(name)), "")
            if not isinstance(text, str):
                raise BadAnswerError("choices[0].delta.content is not text")
            if text or any(delta.get(name) for name in _UNSPOKEN):
                pieces.add(text)
                calls |= _calls(delta.get("tool_calls"))
            else:
                pieces.heard()
        raise BrokenStreamError(f"the stream ended without {_END}")


def _refuse_error(fields: dict[str, Any]) -> None:
    error = fields.get("error")
    if error:
        told = error.get("message") if isinstance(error, dict) else error
        raise BadAnswerError(f"the server reports an error: {told or 'without a message'}")


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the model and the tokens, where they are told."""
    usage = fields.get("usage")
    if usage is None:
        usage = {}
    if not isinstance(usage, dict):
        raise BadAnswerError("the field 'usage' is not an object")
    return {
        "input_tokens": count(usage.get("prompt_tokens"), "prompt_tokens"),
        "output_tokens": count(usage.get("completion_tokens"), "completion_tokens"),
        "model": word(fields.get("model")),
    }


def _calls(parts: Any) -> set[Any]:
    """Tell the calls apart of which these are parts: each has an index of its own."""
    if not isinstance(parts, list):
        return set()
    return {word(look_up(part, ("index",))) for part in parts}
