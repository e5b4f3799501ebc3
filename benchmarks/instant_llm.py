"""
An LLM that answers at once, with answers written before it starts.

A plain ASGI app without a framework, so that it takes a small part of the processor time of what
asks it. Which answer is due follows from the plan that the question names and from the number of
the LLM's own messages in the conversation. `GET /prompts` tells the last prompt of every step,
so that others can send exactly what the app sends. Whatever else comes is accepted and
forgotten, which makes it a sink for spans too.
"""

from __future__ import annotations

import json
from typing import Any

from bare_asgi import answer_json, last_as_long, whole_body
from corpus import RARE_WORD, first_file
from starlette.types import ASGIApp, Receive, Scope, Send

Call = tuple[str, dict[str, Any]]

PLANS: dict[str, tuple[tuple[Call, ...], ...]] = {
    "none": (),
    "plan": (
        (("ls", {"path": "."}),),
        (
            ("grep", {"path": ".", "pattern": RARE_WORD}),
            ("find", {"path": ".", "name_pattern": "*07.yaml"}),
        ),
        (("preview", {"path": first_file()}),),
    ),
}
"""Turns of tool calls; an answer comes after the last one."""

PROMPTS = "INSTANT_LLM_PROMPTS"
"""Environment variable: a file of what `/prompts` told, for a server that sends the same."""

ANSWER = "The answer stands in one of the documents, and here it is in a sentence or two. " * 4
USAGE = {"prompt_tokens": 1200, "completion_tokens": 80, "total_tokens": 1280}


def question(plan: str) -> bytes:
    """Write a chat request that makes the LLM follow a plan."""
    return json.dumps({"message": f"What do the documents say? [{plan}]"}).encode()


def create_app() -> ASGIApp:
    """Make the app."""
    answers = {
        _marker(plan): [*(_wants(turn) for turn in turns), _says(ANSWER)]
        for plan, turns in PLANS.items()
    }
    prompts: dict[bytes, list[bytes]] = {
        marker: [b""] * len(turns) for marker, turns in answers.items()
    }

    def answer(body: bytes) -> bytes:
        marker = next(marker for marker in answers if marker in body)
        # Quotes within a text are escaped on the wire, so no text can be mistaken for this.
        step = body.count(b'"role":"assistant"')
        prompts[marker][step] = body
        return answers[marker][step]

    def told() -> bytes:
        return json.dumps(
            {plan: [json.loads(body) for body in prompts[_marker(plan)] if body] for plan in PLANS}
        ).encode()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await last_as_long(receive, send)
            return
        body = await whole_body(receive)
        path = scope["path"]
        said = b"{}"
        if path == "/prompts":
            said = told()
        elif path.endswith("/chat/completions"):
            said = answer(body)
        await answer_json(send, said)

    return app


def _marker(plan: str) -> bytes:
    return f"[{plan}]".encode()


def _wants(turn: tuple[Call, ...]) -> bytes:
    calls = [
        {
            "id": f"call_{index}_{name}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(arguments)},
        }
        for index, (name, arguments) in enumerate(turn)
    ]
    return _completion({"content": None, "tool_calls": calls}, "tool_calls")


def _says(text: str) -> bytes:
    return _completion({"content": text}, "stop")


def _completion(message: dict[str, Any], finish_reason: str) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": finish_reason,
    }
    return json.dumps(
        {
            "id": "chatcmpl-instant",
            "object": "chat.completion",
            "created": 0,
            "model": "instant",
            "choices": [choice],
            "usage": USAGE,
        }
    ).encode()
