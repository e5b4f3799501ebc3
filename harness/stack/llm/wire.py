"""The shapes of answers on the wire: whole objects, stream events and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.stack.llm.conversation import RequestError, ToolCall
from harness.stack.llm.planner import Answer, Calls
from harness.stack.llm.tokens import Usage

DONE = b"data: [DONE]\n\n"
MAX_PIECES = 20  # stream events that carry the text of an answer; a few more frame them

_SAFE: dict[str, Any] = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One finished answer and what names it on the wire."""

    id: str
    created: int
    model: str
    azure: bool
    turn: Calls | Answer
    usage: Usage

    @property
    def finish_reason(self) -> str:
        """Why the model stopped."""
        return "tool_calls" if isinstance(self.turn, Calls) else "stop"


def completion(reply: Reply, *, with_usage: bool) -> dict[str, Any]:
    """Give the whole answer as one object."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if isinstance(reply.turn, Calls):
        message["tool_calls"] = [_call(call) for call in reply.turn.calls]
    else:
        message["content"] = reply.turn.text
    choice = {"index": 0, "message": message, "logprobs": None}
    choice["finish_reason"] = reply.finish_reason
    body: dict[str, Any] = _frame(reply, "chat.completion", [choice])
    if reply.azure:
        choice["content_filter_results"] = _SAFE
        body["prompt_filter_results"] = _PROMPT_FILTER
    if with_usage:
        body["usage"] = _usage(reply.usage)
    return body


def stream_events(reply: Reply, *, with_usage: bool) -> tuple[bytes, tuple[bytes, ...], bytes]:
    """
    Give the answer as server-sent events: what comes first, the pieces, what comes last.

    A text comes in at most `MAX_PIECES` pieces, a tool call in at most five; joined they are the
    answer.
    """
    first = b""
    if reply.azure:
        # Azure opens with a chunk that has no choices; clients must survive it.
        opening = _frame(reply, "chat.completion.chunk", [])
        first = _event({**opening, "prompt_filter_results": _PROMPT_FILTER})
    if isinstance(reply.turn, Calls):
        deltas = list(_call_deltas(reply.turn.calls))
        first += _chunk(reply, {"role": "assistant", "content": None}, with_usage=with_usage)
    else:
        deltas = [{"content": part} for part in _parts(reply.turn.text, MAX_PIECES)]
        opening_delta = {"role": "assistant", "content": "", "refusal": None}
        first += _chunk(reply, opening_delta, with_usage=with_usage)
    pieces = tuple(_chunk(reply, delta, with_usage=with_usage) for delta in deltas)
    last = _chunk(reply, {}, with_usage=with_usage, finish_reason=reply.finish_reason)
    if with_usage:
        frame = _frame(reply, "chat.completion.chunk", [])
        last += _event({**frame, "usage": _usage(reply.usage)})
    return first, pieces, last + DONE


def error_body(error: RequestError) -> dict[str, Any]:
    """Give a refusal in the shape of the API's."""
    kind = {429: "requests", 500: "server_error"}.get(error.status, "invalid_request_error")
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": error.param,
            "code": error.code,
        }
    }


_PROMPT_FILTER = [{"prompt_index": 0, "content_filter_results": _SAFE}]


def _call_deltas(calls: Sequence[ToolCall]) -> Sequence[Mapping[str, Any]]:
    """Open each call with its name, then send its arguments in parts."""
    deltas: list[Mapping[str, Any]] = []
    for index, call in enumerate(calls):
        opened = {**_call(call), "index": index}
        opened["function"] = {"name": call.name, "arguments": ""}
        deltas.append({"tool_calls": [opened]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            for part in _parts(call.arguments_json, 4)
        ]
    return deltas


def _parts(text: str, most: int) -> Sequence[str]:
    """Cut a text into at most `most` parts of about four characters or more, as tokens are."""
    pieces = max(1, min(most, len(text) // 4))
    cuts = [len(text) * index // pieces for index in range(pieces + 1)]
    return [text[start:end] for start, end in pairwise(cuts)]


def _chunk(
    reply: Reply, delta: Mapping[str, Any], *, with_usage: bool, finish_reason: str | None = None
) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    if reply.azure:
        choice["content_filter_results"] = {}
    frame = _frame(reply, "chat.completion.chunk", [choice])
    if with_usage:
        frame["usage"] = None
    return _event(frame)


def _frame(reply: Reply, kind: str, choices: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "id": reply.id,
        "object": kind,
        "created": reply.created,
        "model": reply.model,
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
        "choices": choices,
    }


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments_json}
    return {"id": call.id, "type": "function", "function": function}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"
