"""Answers have the shape of the API's, and their pieces joined are the answer."""

from __future__ import annotations

import json

import pytest

from harness.stack.llm.conversation import RequestError, ToolCall
from harness.stack.llm.planner import Answer, Calls
from harness.stack.llm.tokens import Usage
from harness.stack.llm.wire import MAX_PIECES, Reply, completion, error_body, stream_events

USAGE = Usage(prompt=1100, cached=1024, completion=9)
LS = ToolCall("ls", {"path": "docs/handbook"}, "call_1")
TWO_CALLS = Calls((LS, ToolCall("cat", {"path": "a.md"}, "call_2")))


def reply(turn, *, azure=False):
    return Reply("chatcmpl-1", 1000, "gpt-4o", azure, turn, USAGE)


def events(turn, *, azure=False, with_usage=True):
    """Give the decoded events of a stream, without the mark of its end."""
    first, pieces, last = stream_events(reply(turn, azure=azure), with_usage=with_usage)
    lines = (first + b"".join(pieces) + last).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


def deltas(turn):
    return [choice["delta"] for event in events(turn) for choice in event["choices"]]


def test_a_whole_answer():
    assert completion(reply(Answer("Yes.")), with_usage=True) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1000,
        "model": "gpt-4o",
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Yes.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 1100,
            "completion_tokens": 9,
            "total_tokens": 1109,
            "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }


def test_tool_calls_in_a_whole_answer():
    body = completion(reply(Calls((LS,))), with_usage=False)

    assert "usage" not in body
    assert body["choices"][0]["finish_reason"] == "tool_calls"
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "ls", "arguments": '{"path": "docs/handbook"}'},
            }
        ],
    }


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("Yes.", id="short"),
        pytest.param("né à 東京 🚚 " * 300, id="long, in many scripts"),
    ],
)
def test_a_streamed_text_is_the_text_in_few_pieces(text):
    parts = [delta["content"] for delta in deltas(Answer(text)) if "content" in delta]

    assert "".join(parts) == text
    assert len(parts) <= MAX_PIECES + 1


def test_streamed_tool_calls_open_with_a_name_and_continue_with_arguments():
    parts = [part for delta in deltas(TWO_CALLS) for part in delta.get("tool_calls", [])]
    names = [(part["id"], part["function"]["name"]) for part in parts if "id" in part]
    arguments = {
        index: "".join(part["function"]["arguments"] for part in parts if part["index"] == index)
        for index in (0, 1)
    }

    assert names == [("call_1", "ls"), ("call_2", "cat")]
    assert arguments == {0: '{"path": "docs/handbook"}', 1: '{"path": "a.md"}'}
    assert len(parts) <= MAX_PIECES


def test_a_stream_ends_with_its_reason_and_then_the_usage():
    *_, reason, usage = events(Answer("Yes."))

    assert reason["choices"][0]["finish_reason"] == "stop"
    assert (reason["usage"], usage["choices"]) == (None, [])
    assert usage["usage"]["total_tokens"] == 1109


def test_a_stream_whose_usage_was_not_asked_for_has_none():
    assert not any("usage" in event for event in events(Answer("Yes."), with_usage=False))


def test_azure_opens_with_a_chunk_without_choices():
    opening, *_ = events(Answer("Yes."), azure=True)

    assert opening["choices"] == []
    assert list(opening["prompt_filter_results"][0]) == ["prompt_index", "content_filter_results"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param(400, "invalid_request_error", id="bad request"),
        pytest.param(429, "requests", id="rate limit"),
        pytest.param(500, "server_error", id="server error"),
    ],
)
def test_an_error_has_the_shape_of_the_api_s(status, kind):
    error = RequestError("No.", param="model", status=status, code="c")

    assert error_body(error) == {
        "error": {"message": "No.", "type": kind, "param": "model", "code": "c"}
    }
