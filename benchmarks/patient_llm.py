"""
The instant LLM, made to wait as real ones do, only shorter.

How long an answer takes follows from the number of the question and the step in the conversation,
by a seed: whoever asks the same question waits for the same time.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from collections.abc import AsyncIterator, Iterator

import instant_llm
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = "PATIENT_LLM_SECONDS"
"""Environment variable: the shortest and the longest wait, such as `0.05,0.15`."""

SEED = 7

_NUMBER = re.compile(rb"question (\d+)")


def question(plan: str, number: int, session_id: str | None = None) -> bytes:
    """Write the chat request of this number, which makes the LLM follow a plan."""
    asked = {"message": f"What do the documents say, question {number}? [{plan}]"}
    return json.dumps(asked if session_id is None else asked | {"session_id": session_id}).encode()


def wait_seconds(number: int, step: int, shortest: float, longest: float) -> float:
    """Say how long the LLM thinks at this step of the question of this number."""
    return random.Random(f"{SEED} {number} {step}").uniform(shortest, longest)  # noqa: S311


def create_app() -> ASGIApp:
    """Make the app."""
    shortest, longest = map(float, os.environ[SECONDS].split(","))
    instant = instant_llm.create_app()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/chat/completions"):
            await instant(scope, receive, send)
            return
        messages = [message async for message in _whole(receive)]
        body = b"".join(message.get("body", b"") for message in messages)
        # A session has earlier questions before this one.
        number = int(_NUMBER.findall(body)[-1])
        step = body.count(b'"role":"assistant"')
        await asyncio.sleep(wait_seconds(number, step, shortest, longest))
        await instant(scope, _again(iter(messages)), send)

    return app


async def _whole(receive: Receive) -> AsyncIterator[Message]:
    more = True
    while more:
        message = await receive()
        yield message
        more = message.get("more_body", False)


def _again(messages: Iterator[Message]) -> Receive:
    async def receive() -> Message:
        return next(messages)

    return receive
