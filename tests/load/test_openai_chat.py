"""OpenAI's chat completions: what is asked, and what is made of every answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.load.apis.openai_chat import OpenAIChat
from harness.load.chat_api import (
    Answer,
    BadAnswerError,
    BrokenStreamError,
    ChatApi,
    Conversation,
    Pieces,
)
from harness.load.sse import Event

API = OpenAIChat("known-model")
WHOLE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "known-model-2026",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "42 s"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}


def ticks() -> Callable[[], float]:
    """Make a clock that is a second later every time it is read."""
    instants = iter(range(1, 100))
    return lambda: float(next(instants))


def chunk(**delta: Any) -> str:
    return json.dumps({"model": "known-model", "choices": [{"index": 0, "delta": delta}]})


def read(*data: str, pieces: Pieces | None = None) -> Answer:
    return API.read_stream([Event("message", d) for d in data], pieces or Pieces(ticks()))


def test_it_is_a_chat_api() -> None:
    assert isinstance(API, ChatApi)
    assert (API.name, API.path(stream=False), API.path(stream=True)) == (
        "openai-chat", "/v1/chat/completions", "/v1/chat/completions"
    )  # fmt: skip


def test_a_question_is_asked_whole() -> None:
    assert API.body("How long?", None, stream=False) == {
        "model": "known-model",
        "messages": [{"role": "user", "content": "How long?"}],
    }


def test_a_stream_is_asked_for_with_its_usage() -> None:
    body = API.body("How long?", None, stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_a_conversation_is_told_again_after_the_system_prompt() -> None:
    api = OpenAIChat("m", "/openai/v1/chat", system="Be brief.", fields={"temperature": 0})
    body = api.body("And now?", Conversation(turns=[("How long?", "42 s")]), stream=False)
    assert body == {
        "model": "m",
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How long?"},
            {"role": "assistant", "content": "42 s"},
            {"role": "user", "content": "And now?"},
        ],
    }
    assert api.path(stream=True) == "/openai/v1/chat"


@pytest.mark.parametrize(
    ("environment", "headers"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param(
            {"OPENAI_API_KEY": "sk-1"}, {"Authorization": "Bearer sk-1"}, id="OpenAI's key"
        ),
        pytest.param(
            {"OPENAI_API_KEY": "sk-1", "TARGET_TOKEN": "t-1"},
            {"Authorization": "Bearer t-1"},
            id="the target's own token goes before",
        ),
        pytest.param(
            {"OPENAI_API_KEY": "sk-1", "TARGET_HEADERS": "api-key: k-1"},
            {"api-key": "k-1"},
            id="and so does Azure's header",
        ),
    ],
)
def test_the_key_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], headers: dict[str, str]
) -> None:
    for name in ("OPENAI_API_KEY", "TARGET_TOKEN", "TARGET_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert API.headers() == headers


def test_an_answer_is_read_whole() -> None:
    assert API.read_answer(json.dumps(WHOLE).encode()) == Answer(
        text="42 s", input_tokens=9, output_tokens=3, tool_calls=0, model="known-model-2026"
    )


@pytest.mark.parametrize(
    ("message", "text", "calls"),
    [
        pytest.param({"content": None, "refusal": "No."}, "No.", 0, id="a refusal"),
        pytest.param({"content": None, "tool_calls": [{}, {}]}, "", 2, id="tool calls alone"),
        pytest.param({"content": "a", "tool_calls": None}, "a", 0, id="no tool calls"),
    ],
)
def test_an_answer_may_be_something_else_than_text(
    message: dict[str, Any], text: str, calls: int
) -> None:
    answer = API.read_answer(json.dumps({"choices": [{"message": message}]}).encode())
    assert answer == Answer(text=text, tool_calls=calls)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param("<html>", "not JSON: ", id="not JSON"),
        pytest.param("[]", "not a JSON object", id="a list"),
        pytest.param('{"error": {"message": "no such model"}}',
                     "the server reports an error: no such model", id="an error"),
        pytest.param('{"error": {}, "choices": []}', "the answer has no choices[0].message",
                     id="no choice"),
        pytest.param('{"error": "overloaded"}', "the server reports an error: overloaded",
                     id="an error in words"),
        pytest.param('{"choices": [{"message": "42 s"}]}', "the answer has no choices[0].message",
                     id="a message that is none"),
        pytest.param('{"choices": [{"message": {"content": ""}}]}',
                     "the answer has no text in choices[0].message.content", id="no text"),
        pytest.param('{"choices": [{"message": {"content": ["a"]}}]}',
                     "choices[0].message is not a message", id="a list for a text"),
        pytest.param('{"choices": [{"message": {"content": "a"}}], "usage": 12}',
                     "the field 'usage' is not an object", id="a number for the usage"),
        pytest.param('{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": -1}}',
                     "the field 'prompt_tokens' is -1, not a count", id="a negative count"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_bad_answer(body: str, problem: str) -> None:
    with pytest.raises(BadAnswerError) as bad:
        API.read_answer(body.encode())
    assert str(bad.value).startswith(problem)


def test_a_stream_is_read_to_its_end_with_the_usage_that_comes_last() -> None:
    pieces = Pieces(ticks())
    answer = read(
        chunk(role="assistant", content=""),
        chunk(content="42"),
        chunk(content=" s"),
        chunk(),
        json.dumps({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}),
        "[DONE]",
        pieces=pieces,
    )
    assert answer == Answer(
        text="42 s",
        input_tokens=9,
        output_tokens=2,
        tool_calls=0,
        model="known-model",
        first_token=3.0,
        events=2,
        gaps=(1.0,),
    )


def test_thoughts_and_tool_calls_are_written_token_by_token_but_are_no_text() -> None:
    def call(index: int, arguments: str) -> dict[str, Any]:
        return {"index": index, "function": {"arguments": arguments}}

    answer = read(
        chunk(reasoning_content="Let me see"),
        chunk(tool_calls=[call(0, "{")]),
        chunk(tool_calls=[call(0, "}"), call(1, "{}")]),
        chunk(content="42 s"),
        "[DONE]",
    )
    assert (answer.text, answer.tool_calls, answer.events) == ("42 s", 2, 4)
    assert (answer.first_token, answer.gaps) == (2.0, (1.0, 1.0, 1.0))


def test_usage_that_every_chunk_tells_is_taken_from_the_last() -> None:
    def counted(tokens: int) -> str:
        return json.dumps(
            {"choices": [{"delta": {"content": "a"}}], "usage": {"completion_tokens": tokens}}
        )

    assert read(counted(1), counted(2), "[DONE]").output_tokens == 2


@pytest.mark.parametrize(
    ("data", "kind", "problem"),
    [
        pytest.param((), BrokenStreamError, "the stream ended without [DONE]", id="nothing"),
        pytest.param(
            (chunk(content="4"),), BrokenStreamError, "the stream ended without [DONE]", id="half"
        ),
        pytest.param(
            (chunk(content="4"), '{"error": {"message": "overloaded"}}'), BadAnswerError,
            "the server reports an error: overloaded", id="an error in mid-stream",
        ),
        pytest.param(("{",), BadAnswerError, "not JSON: ", id="not JSON"),
        pytest.param(
            (chunk(content=4),), BadAnswerError, "choices[0].delta.content is not text",
            id="a number for a text",
        ),
    ],
)  # fmt: skip
def test_a_stream_that_goes_wrong_is_told_apart(
    data: tuple[str, ...], kind: type[ValueError], problem: str
) -> None:
    with pytest.raises(kind) as bad:
        read(*data)
    assert str(bad.value).startswith(problem)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param({"model": ""}, "OpenAIChat(model=''): name the model", id="no model"),
        pytest.param(
            {"model": "m", "path": "v1/chat"}, "OpenAIChat(path='v1/chat'): write the path below",
            id="a path without a slash",
        ),
        pytest.param(
            {"model": "m", "path": "https://api/v1"}, "OpenAIChat(path='https://api/v1'): write",
            id="an address for a path",
        ),
        pytest.param(
            {"model": "m", "fields": {"stream": True}},
            "OpenAIChat(fields=...) writes 'stream' itself; leave it out", id="its own field",
        ),
        pytest.param(
            {"model": "m", "fields": {"temperature": float("nan")}},
            "OpenAIChat(fields=...): cannot be written as JSON: ", id="not JSON",
        ),
        pytest.param(
            {"model": "m", "fields": {1: 2}}, "OpenAIChat(fields=...): give a dict with names",
            id="a number for a name",
        ),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_be_right_is_refused_by_name(
    arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError) as refused:
        OpenAIChat(**arguments)
    assert str(refused.value).startswith(problem)
