"""A chat API declared in a few lines: what is asked, what is read, and what is refused at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.load.apis.http_json import EventStream, Http
from harness.load.chat_api import (
    Answer,
    BadAnswerError,
    BrokenStreamError,
    ChatApi,
    Conversation,
    Pieces,
)
from harness.load.sse import Event

API = Http(
    "/v2/ask",
    {"input": {"text": "Answer: {message}", "thread": "{session}"}, "tags": ["load", "{message}"]},
    "output[0].text",
    session="thread.id",
    input_tokens="usage.in",
    output_tokens="usage.out",
    llm_calls="steps",
    tool_calls="output[-1].calls",
    model="by",
    stream=EventStream(
        event="delta", text="piece", done="end", path="/v2/stream", fields={"stream": True}
    ),
)
PLAIN = Http("/ask", {"q": "{message}"}, "a", stream=EventStream(text="", done="[DONE]"))


def ticks() -> Callable[[], float]:
    """Make a clock that is a second later every time it is read."""
    instants = iter(range(1, 100))
    return lambda: float(next(instants))


def read(api: Http, *events: tuple[str, str], pieces: Pieces | None = None) -> Answer:
    return api.read_stream([Event(*e) for e in events], pieces or Pieces(ticks()))


def test_it_is_a_chat_api() -> None:
    assert isinstance(API, ChatApi)
    assert (API.name, API.path(stream=False), API.path(stream=True)) == (
        "http", "/v2/ask", "/v2/stream"
    )  # fmt: skip
    assert PLAIN.path(stream=True) == "/ask"


def test_question_and_session_are_written_wherever_the_template_says() -> None:
    assert API.body("How long?", Conversation("t-1"), stream=False) == {
        "input": {"text": "Answer: How long?", "thread": "t-1"},
        "tags": ["load", "How long?"],
    }


@pytest.mark.parametrize("conversation", [None, Conversation()], ids=["none", "a new one"])
def test_without_a_session_its_entry_is_left_out(conversation: Conversation | None) -> None:
    assert API.body("How?", conversation, stream=True) == {
        "input": {"text": "Answer: How?"},
        "tags": ["load", "How?"],
        "stream": True,
    }


def test_what_a_question_holds_is_not_filled_in() -> None:
    api = Http("/ask", {"q": "{session}: {message} {message}"}, "a", session="s")
    body = api.body("{session} and {message}", Conversation("t-1"), stream=False)
    assert body == {"q": "t-1: {session} and {message} {session} and {message}"}


def test_other_braces_and_other_values_are_left_as_they_are() -> None:
    template = {"query": "query($q) { ask(q: $q) {text} }", "variables": {"q": "{message}"}}
    api = Http("/graphql", {**template, "limit": 3, "deep": [[None, True]]}, "data.ask.text")
    assert api.body("How?", None, stream=False) == {
        **template, "variables": {"q": "How?"}, "limit": 3, "deep": [[None, True]]
    }  # fmt: skip


def test_an_answer_is_read_where_it_was_declared_to_be() -> None:
    told = {
        "output": [{"text": "42 s"}, {"calls": [{}, {}]}],
        "thread": {"id": 7},
        "usage": {"in": 9, "out": 3},
        "steps": 2,
        "by": "known-model",
    }
    assert API.read_answer(json.dumps(told).encode()) == Answer(
        text="42 s",
        session_id="7",
        input_tokens=9,
        output_tokens=3,
        llm_calls=2,
        tool_calls=2,
        model="known-model",
    )


def test_what_is_not_there_is_not_known() -> None:
    assert API.read_answer(b'{"output": [{"text": "42 s"}]}') == Answer(text="42 s")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param("<html>", "not JSON: ", id="not JSON"),
        pytest.param("[]", "the answer has no text at output[0].text", id="another shape"),
        pytest.param('{"output": []}', "the answer has no text at output[0].text", id="no item"),
        pytest.param(
            '{"output": [{"text": null}]}', "the answer has no text at output[0].text", id="null"
        ),
        pytest.param(
            '{"output": [{"text": "a"}], "usage": {"in": "9"}}',
            "the field 'input_tokens' is '9', not a count",
            id="tokens as text",
        ),
        pytest.param(
            '{"output": [{"text": "a", "calls": "two"}]}',
            "the field 'tool_calls' is 'two', not a count",
            id="calls in words",
        ),
    ],
)
def test_what_is_no_answer_is_a_bad_answer(body: str, problem: str) -> None:
    with pytest.raises(BadAnswerError) as bad:
        API.read_answer(body.encode())
    assert str(bad.value).startswith(problem)


def test_a_stream_is_read_as_declared() -> None:
    answer = read(
        API,
        ("start", '{"thread": {"id": "t-1"}}'),
        ("delta", '{"piece": "42"}'),
        ("ping", "still here"),
        ("delta", '{"piece": " s"}'),
        ("end", '{"usage": {"in": 9, "out": 3}, "steps": 1}'),
    )
    assert answer == Answer(
        text="42 s",
        session_id="t-1",
        input_tokens=9,
        output_tokens=3,
        llm_calls=1,
        first_token=3.0,
        events=2,
        gaps=(1.0,),
    )


def test_a_stream_may_be_plain_text_that_ends_with_a_mark() -> None:
    answer = read(PLAIN, ("message", "{4"), ("message", "2}"), ("message", "[DONE]"))
    assert (answer.text, answer.events) == ("{42}", 2)


@pytest.mark.parametrize(
    ("api", "events", "kind", "problem"),
    [
        pytest.param(API, (), BrokenStreamError, "the stream ended without end", id="nothing"),
        pytest.param(
            PLAIN, (("message", "4"),), BrokenStreamError, "the stream ended without [DONE]",
            id="half",
        ),
        pytest.param(
            API, (("delta", "{"),), BadAnswerError, "not JSON: ", id="a piece that is not JSON"
        ),
        pytest.param(
            API, (("delta", '{"text": "4"}'), ("end", "")), BadAnswerError,
            "no event named delta had a text", id="texts somewhere else",
        ),
        pytest.param(
            API, (("delta", '{"piece": "4"}'), ("error", "overloaded")), BadAnswerError,
            "error event: overloaded", id="an error",
        ),
    ],
)  # fmt: skip
def test_a_stream_that_goes_wrong_is_told_apart(
    api: Http, events: tuple[tuple[str, str], ...], kind: type[ValueError], problem: str
) -> None:
    with pytest.raises(kind) as bad:
        read(api, *events)
    assert str(bad.value).startswith(problem)


GOOD: dict[str, Any] = {"path": "/ask", "body": {"q": "{message}"}, "answer": "a"}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param({"path": "ask"}, "Http(path='ask'): write the path below --host",
                     id="a path without a slash"),
        pytest.param({"path": "http://other/ask"}, "Http(path='http://other/ask'): write the path",
                     id="an address"),
        pytest.param({"path": "/a b"}, "Http(path='/a b'): write the path", id="a blank"),
        pytest.param({"path": "/a\r\nX: y"}, "Http(path='/a\\r\\nX: y'): write the path",
                     id="a line break"),
        pytest.param({"path": None}, "Http(path=None): write the path", id="no path"),
        pytest.param({"body": ["{message}"]}, "Http(body=...): give a dict", id="a list"),
        pytest.param({"body": {"q": "{mesage}"}}, "Http(body=...): no text in it holds {message}",
                     id="a slip in the template"),
        pytest.param({"body": {"q": "{message}", "at": {1, 2}}},
                     "Http(body=...): cannot be written as JSON: ", id="not JSON"),
        pytest.param({"answer": ""}, "Http(answer=''): '' is not a path; write it like",
                     id="no path of the answer"),
        pytest.param({"answer": "a..b"}, "Http(answer='a..b'): 'a..b' is not a path", id="two dots"),
        pytest.param({"answer": "a[x]"}, "Http(answer='a[x]'): 'a[x]' is not a path",
                     id="an index that is no number"),
        pytest.param({"answer": 3}, "Http(answer=3): 3 is not a path", id="a number"),
        pytest.param({"output_tokens": ".out"}, "Http(output_tokens='.out'): '.out' is not a path",
                     id="a dot at first"),
        pytest.param({"session": "id"}, "Http(session='id'): no text of body= holds {session}",
                     id="a session that is not sent"),
        pytest.param({"body": {"q": "{message}", "s": "{session}"}},
                     "Http(body=...) holds {session}, but session= does not say where",
                     id="a session that is not told"),
        pytest.param({"stream": True}, "Http(stream=True): say how it streams, as in EventStream(",
                     id="a truth value for a stream"),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_right_is_refused_by_name(
    changed: dict[str, Any], problem: str
) -> None:
    assert Http(**GOOD).path(stream=False) == "/ask"
    with pytest.raises(ValueError) as refused:
        Http(**{**GOOD, **changed})
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param({"done": ""}, "EventStream(done=''): give the name or the data", id="no end"),
        pytest.param({"event": ""}, "EventStream(event=''): name the events", id="no name"),
        pytest.param({"text": "a."}, "EventStream(text='a.'): 'a.' is not a path", id="a path"),
        pytest.param({"path": "stream"}, "EventStream(path='stream'): write the path", id="where"),
        pytest.param({"fields": 1}, "EventStream(fields=...): give a dict", id="a number"),
    ],
)
def test_a_stream_that_cannot_be_right_is_refused_by_name(
    changed: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError) as refused:
        EventStream(**{"text": "a", "done": "end", **changed})
    assert str(refused.value).startswith(problem)
