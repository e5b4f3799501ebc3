"""Answers of the Filesystem Agent, whole and streamed, good and bad."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.load.apis.filesystem_agent import FilesystemAgent
from harness.load.chat_api import (
    Answer,
    BadAnswerError,
    BrokenStreamError,
    Conversation,
    Pieces,
)
from harness.load.sse import events

AGENT = FilesystemAgent()
read_answer = AGENT.read_answer
ANSWER: dict[str, Any] = {
    "response": "42 s",
    "session_id": "s-1",
    "iterations": 2,
    "tool_calls": [{"name": "grep"}, {"name": "cat"}],
    "usage": {"input_tokens": 900, "output_tokens": 30, "total_tokens": 930},
}


def ticks() -> Callable[[], float]:
    """Make a clock that is a second later every time it is read."""
    instants = iter(range(1, 100))
    return lambda: float(next(instants))


def read_stream(*lines: str, pieces: Pieces | None = None) -> Answer:
    chunks = iter([f"{line}\n".encode() for line in lines])
    return AGENT.read_stream(events(lambda: next(chunks, b"")), pieces or Pieces(ticks()))


def test_a_question_is_sent_with_its_session_only_if_there_is_one() -> None:
    new, old = Conversation(), Conversation("s-1", [("Who?", "Me.")])
    assert AGENT.body("How long?", None, stream=False) == {"message": "How long?"}
    assert AGENT.body("How long?", new, stream=False) == {"message": "How long?"}
    assert AGENT.body("How long?", old, stream=True) == {
        "message": "How long?",
        "session_id": "s-1",
    }


def test_whole_and_streamed_answers_have_their_own_paths() -> None:
    assert AGENT.path(stream=False) == "/api/chat"
    assert AGENT.path(stream=True) == "/api/chat/stream"


def test_the_token_of_the_environment_goes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET_TOKEN", "let-me-in")
    monkeypatch.delenv("TARGET_HEADERS", raising=False)
    assert AGENT.headers() == {"Authorization": "Bearer let-me-in"}


def test_an_answer_is_read_whole() -> None:
    assert read_answer(json.dumps(ANSWER).encode()) == Answer(
        text="42 s",
        session_id="s-1",
        input_tokens=900,
        output_tokens=30,
        llm_calls=2,
        tool_calls=2,
    )


def test_an_app_that_tries_again_says_how_many_calls_it_made() -> None:
    body = json.dumps({**ANSWER, "llm_calls": 5}).encode()
    done = 'data: {"session_id": "s-1", "iterations": 2, "llm_calls": 3}'

    streamed = read_stream("event: done", done, "")

    assert (read_answer(body).llm_calls, streamed.llm_calls) == (5, 3)


def test_what_the_app_does_not_say_is_not_known() -> None:
    assert read_answer(b'{"response": ""}') == Answer(text="")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(b"<html>", "not JSON: ", id="not JSON"),
        pytest.param(b"\xff\xfe", "not JSON: ", id="not even text"),
        pytest.param(b"[]", "not a JSON object", id="a list"),
        pytest.param(b"{}", "the answer has no text in its field 'response'", id="no text"),
        pytest.param(
            b'{"response": 5}', "the answer has no text in its field 'response'", id="a number"
        ),
        pytest.param(
            b'{"response": "a", "usage": [1]}', "the field 'usage' is not an object", id="usage"
        ),
        pytest.param(
            b'{"response": "a", "usage": {"input_tokens": "9"}}',
            "the field 'input_tokens' is '9', not a count",
            id="tokens as text",
        ),
        pytest.param(
            b'{"response": "a", "iterations": -1}',
            "the field 'iterations' is -1, not a count",
            id="a negative count",
        ),
        pytest.param(
            b'{"response": "a", "iterations": true}',
            "the field 'iterations' is True, not a count",
            id="a truth value for a count",
        ),
    ],
)
def test_what_is_no_answer_is_a_bad_answer(body: bytes, problem: str) -> None:
    with pytest.raises(BadAnswerError) as bad:
        read_answer(body)
    assert str(bad.value).startswith(problem)


def test_a_stream_is_read_to_its_end_and_its_first_token_is_timed_once() -> None:
    pieces = Pieces(ticks())
    answer = read_stream(
        "event: tool_call", 'data: {"name": "grep"}', "",
        "event: token", 'data: {"content": "42"}', "",
        "event: token", 'data: {"content": " s"}', "",
        "event: usage", 'data: {"input_tokens": 900, "output_tokens": 30}', "",
        "event: done", 'data: {"session_id": "s-1", "iterations": 2, "tool_calls_count": 3}', "",
        pieces=pieces,
    )  # fmt: skip
    assert answer == Answer(
        text="42 s",
        session_id="s-1",
        input_tokens=900,
        output_tokens=30,
        llm_calls=2,
        tool_calls=3,
        first_token=3.0,  # the clock was read at the start, for the tool call, and for each token
        events=2,
        gaps=(1.0,),
    )
    assert pieces.last_heard == 4.0


def test_a_stream_of_no_token_has_no_first_one() -> None:
    assert read_stream("event: done", "data: {}", "") == Answer(text="", events=0)


@pytest.mark.parametrize(("name", "heard"), [("status", 2.0), ("ping", 1.0), ("keepalive", 1.0)])
def test_events_that_are_not_of_the_api_may_carry_anything_and_heartbeats_are_no_sign_of_life(
    name: str, heard: float
) -> None:
    pieces = Pieces(ticks())
    lines = (f"event: {name}", "data: not JSON", "", "event: done", "data: {}", "")
    assert read_stream(*lines, pieces=pieces) == Answer(text="", events=0)
    assert pieces.last_heard == heard


def test_nothing_is_read_after_the_last_event() -> None:
    answer = read_stream("event: done", "data: {}", "", "event: error", "data: {}", "")
    assert answer == Answer(text="", events=0)


@pytest.mark.parametrize(
    ("lines", "kind", "problem"),
    [
        pytest.param((), BrokenStreamError, "the stream ended without its done event", id="empty"),
        pytest.param(
            ("event: token", 'data: {"content": "4"}', ""),
            BrokenStreamError,
            "the stream ended without its done event",
            id="it ends after a token",
        ),
        pytest.param(
            ("event: done", "data: {}"),
            BrokenStreamError,
            "the stream ended without its done event",
            id="it ends within its last event",
        ),
        pytest.param(
            ("event: error", 'data: {"message": "the LLM is away"}', ""),
            BadAnswerError,
            "error event: the LLM is away",
            id="an error event",
        ),
        pytest.param(
            ("event: error", "data: {}", ""),
            BadAnswerError,
            "error event: without a message",
            id="an error event that says nothing",
        ),
        pytest.param(
            ("event: done", 'data: {"iterations": "two"}', ""),
            BadAnswerError,
            "the field 'iterations' is 'two', not a count",
            id="a count in words",
        ),
    ],
)
def test_a_stream_that_goes_wrong_is_told_apart(
    lines: tuple[str, ...], kind: type[ValueError], problem: str
) -> None:
    with pytest.raises(kind) as bad:
        read_stream(*lines)
    assert str(bad.value) == problem
