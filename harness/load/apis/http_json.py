"""Any chat API that takes JSON and gives JSON, declared in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.credentials import target_headers
from harness.load.apis.arguments import below_host, inside, json_fields, maybe_inside
from harness.load.chat_api import (
    Answer,
    BadAnswerError,
    BrokenStreamError,
    Conversation,
    Pieces,
    streamed,
)
from harness.load.fields import count, document, look_up, word
from harness.load.sse import Event

_MESSAGE, _SESSION = "{message}", "{session}"
_ERROR = "error"


class EventStream:
    """
    How an API streams: server-sent events, of which those named `event` carry pieces of text.

    `text` is the path of the piece within an event's JSON, or "" when the data
    is the piece itself. `done` is the last event: its name, or its whole data.
    `path` is where streamed answers come from, if not from where whole ones do;
    `fields` are added to the body, such as {"stream": True}. An event named
    `error` is a bad answer. Raises ValueError naming the argument that is wrong.
    """

    def __init__(
        self,
        *,
        text: str,
        done: str,
        event: str = "message",
        path: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse what cannot be right."""
        if not event or not isinstance(event, str):
            raise ValueError(
                f"EventStream(event={event!r}): name the events that carry text; "
                "those without a name are 'message'"
            )
        if not done or not isinstance(done, str):
            raise ValueError(
                f"EventStream(done={done!r}): give the name or the data of the last event, "
                "as in 'done' or '[DONE]'; else half an answer could not be told from a whole one"
            )
        self.event = event
        self.done = done
        self.text = inside("EventStream", "text", text) if text else ()
        self.path = None if path is None else below_host("EventStream", "path", path)
        self.fields = json_fields("EventStream", "fields", {} if fields is None else fields)


class Http:
    """
    A chat API of one's own: POST `body` as JSON to `path`, and find the text at `answer`.

    In the texts of `body`, at any depth, "{message}" becomes the question and
    "{session}" the session of the conversation; an entry that is "{session}"
    alone is left out until there is one. `answer` and the others are paths
    within the answer, such as "choices[0].message.content": `session` of the
    session's id, `input_tokens`, `output_tokens` and `llm_calls` of counts,
    `tool_calls` of a count or a list, `model` of the model's name. In a stream
    they are looked for in every event that is JSON, and the last one counts.
    Raises ValueError naming the argument that is wrong.
    """

    name = "http"

    def __init__(
        self,
        path: str,
        body: Mapping[str, Any],
        answer: str,
        *,
        session: str | None = None,
        input_tokens: str | None = None,
        output_tokens: str | None = None,
        llm_calls: str | None = None,
        tool_calls: str | None = None,
        model: str | None = None,
        stream: EventStream | None = None,
    ) -> None:
        """Refuse what cannot be right."""
        self._path = below_host("Http", "path", path)
        self._body = json_fields("Http", "body", body)
        self._text = inside("Http", "answer", answer)
        self._shown = answer
        self._session = maybe_inside("Http", "session", session)
        self._model = maybe_inside("Http", "model", model)
        self._calls = maybe_inside("Http", "tool_calls", tool_calls)
        counts = {
            "input_tokens": input_tokens, "output_tokens": output_tokens, "llm_calls": llm_calls,
        }  # fmt: skip
        self._counts = {n: inside("Http", n, at) for n, at in counts.items() if at is not None}
        if stream is not None and not isinstance(stream, EventStream):
            raise ValueError(
                f"Http(stream={stream!r}): say how it streams, as in "
                "EventStream(text='delta', done='[DONE]')"
            )
        self._stream = stream
        texts = "\n".join(_texts(self._body))
        if _MESSAGE not in texts:
            raise ValueError(
                f"Http(body=...): no text in it holds {_MESSAGE}; write it where the question goes"
            )
        if self._session is None and _SESSION in texts:
            raise ValueError(
                f"Http(body=...) holds {_SESSION}, but session= does not say where an answer "
                "tells it; give the path, as in session='session_id'"
            )
        if self._session is not None and _SESSION not in texts:
            raise ValueError(
                f"Http(session={session!r}): no text of body= holds {_SESSION}; "
                "write it where the session goes"
            )

    def path(self, *, stream: bool) -> str:
        """Where questions go, below --host; raises ValueError for a stream not declared."""
        if not stream:
            return self._path
        return self._declared().path or self._path

    def headers(self) -> dict[str, str]:
        """Give what the environment holds for the target."""
        return target_headers()

    def body(self, message: str, conversation: Conversation | None, *, stream: bool) -> Any:
        """Fill in the template."""
        session = conversation.session_id if conversation else None
        body = _filled(self._body, message, session)
        return {**body, **self._declared().fields} if stream else body

    def read_answer(self, body: bytes) -> Answer:
        """Find the text in an answer; raises BadAnswerError when it is not there."""
        fields = document(body)
        text = look_up(fields, self._text)
        if not isinstance(text, str):
            raise BadAnswerError(f"the answer has no text at {self._shown}")
        return Answer(text=text, **self._told(fields))

    def read_stream(self, events: Iterable[Event], pieces: Pieces) -> Answer:
        """
        Read a stream up to its last event.

        Raises BrokenStreamError when there is none, BadAnswerError for an event
        that is not as declared, and when no event held a text.
        """
        declared = self._declared()
        told: dict[str, Any] = {}
        for event in events:
            ends = declared.done in (event.name, event.data)
            if event.name == _ERROR and not ends:
                raise BadAnswerError(f"error event: {event.data}")
            fields = self._fields_of(event, declared)
            told |= {
                name: value for name, value in self._told(fields).items() if value is not None
            }
            if ends:
                if not pieces.count:
                    raise BadAnswerError(f"no event named {declared.event} had a text")
                return streamed(pieces, **told)
            piece = look_up(fields, declared.text) if declared.text else event.data
            if event.name == declared.event and isinstance(piece, str) and piece:
                pieces.add(piece)
            elif not event.heartbeat:
                pieces.heard()
        raise BrokenStreamError(f"the stream ended without {declared.done}")

    def _declared(self) -> EventStream:
        if self._stream is None:
            raise ValueError(
                "this scenario asks for streams, but its Http(...) declares none; "
                "add stream=EventStream(...)"
            )
        return self._stream

    def _fields_of(self, event: Event, declared: EventStream) -> Any:
        """Read an event's JSON; only one that must be JSON is a bad answer when it is not."""
        if event.name == declared.event and not declared.text:
            return None  # plain text
        try:
            return document(event.data)
        except BadAnswerError:
            if event.name == declared.event and event.data != declared.done:
                raise
            return None

    def _told(self, fields: Any) -> dict[str, Any]:
        told: dict[str, Any] = {
            name: count(look_up(fields, at), name) for name, at in self._counts.items()
        }
        if self._session:
            told["session_id"] = word(look_up(fields, self._session))
        if self._model:
            told["model"] = word(look_up(fields, self._model))
        if self._calls:
            calls = look_up(fields, self._calls)
            told["tool_calls"] = (
                len(calls) if isinstance(calls, list) else count(calls, "tool_calls")
            )
        return told


def _texts(template: Any) -> Iterable[str]:
    """All texts of a template, at any depth."""
    if isinstance(template, str):
        yield template
    elif isinstance(template, dict | list | tuple):
        for part in template.values() if isinstance(template, dict) else template:
            yield from _texts(part)


def _filled(template: Any, message: str, session: str | None) -> Any:
    """Write question and session into a template; what a question holds is left alone."""
    if isinstance(template, str):
        if "{" not in template:
            return template
        # In two steps, so that a question that holds "{session}" stays as it is.
        parts = template.split(_MESSAGE)
        return message.join(part.replace(_SESSION, session or "") for part in parts)
    if isinstance(template, dict):
        return {
            name: _filled(part, message, session)
            for name, part in template.items()
            if session is not None or part != _SESSION
        }
    if isinstance(template, list | tuple):
        return [_filled(part, message, session) for part in template]
    return template
