"""Whatever a server answers, an API reads it or says what is wrong: no other exception."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.apis.filesystem_agent import FilesystemAgent
from harness.load.apis.http_json import EventStream, Http
from harness.load.apis.openai_chat import OpenAIChat
from harness.load.chat_api import Answer, BadAnswerError, BrokenStreamError, ChatApi, Pieces
from harness.load.sse import Event, events

APIS = [
    FilesystemAgent(),
    OpenAIChat("m"),
    Http(
        "/ask",
        {"q": "{message}", "s": "{session}"},
        "choices[0].message.content",
        session="session_id",
        input_tokens="usage.input_tokens",
        tool_calls="tool_calls",
        model="model",
        stream=EventStream(text="choices[0].delta.content", done="done"),
    ),
]
NAMES = (
    "choices", "message", "delta", "content", "tool_calls", "usage", "response", "session_id",
    "input_tokens", "prompt_tokens", "completion_tokens", "model", "error", "iterations", "index",
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=30,
)
DATA = VALUES.map(json.dumps) | st.text()
EVENTS = st.sampled_from(["message", "token", "usage", "done", "error", "ping"])

each_api = pytest.mark.parametrize("api", [pytest.param(a, id=a.name) for a in APIS])


def check(answer: Answer) -> None:
    assert isinstance(answer.text, str)
    counts = (answer.input_tokens, answer.output_tokens, answer.llm_calls, answer.tool_calls)
    assert all(c is None or (isinstance(c, int) and c >= 0) for c in counts)
    for word in (answer.session_id, answer.model):
        assert word is None or (isinstance(word, str) and word)


@each_api
@settings(max_examples=30, deadline=None)
@given(DATA.map(str.encode) | st.binary())
def test_of_whole_answers(api: ChatApi, body: bytes) -> None:
    with suppress(BadAnswerError):
        check(api.read_answer(body))


@each_api
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(EVENTS, DATA)))
def test_of_streams(api: ChatApi, sent: list[tuple[str, Any]]) -> None:
    pieces = Pieces(lambda: 1.0)
    with suppress(BadAnswerError, BrokenStreamError):
        answer = api.read_stream([Event(*event) for event in sent], pieces)
        check(answer)
        assert answer.events == pieces.count == (len(answer.gaps) + 1 if pieces.count else 0)


@each_api
@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(min_size=1)))
def test_of_bytes_that_are_no_stream(api: ChatApi, chunks: list[bytes]) -> None:
    left = iter(chunks)
    with pytest.raises((BadAnswerError, BrokenStreamError)):
        api.read_stream(events(lambda: next(left, b"")), Pieces(lambda: 1.0))
