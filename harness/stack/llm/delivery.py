"""Sending an answer at the pace of a model: whole or in pieces, and not at all if told so."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

from starlette.types import Receive, Send

from harness.stack.llm import wire
from harness.stack.llm.latency import Pace

CLIENT_LEFT = 499  # what proxies log for a client that went away; never sent to anyone

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class TimedAnswer:
    """
    Parts of a response, each with the instant it is sent at, in seconds after the call.

    Without parts nothing is ever sent; if it is not `complete`, the connection is cut after the
    last part.
    """

    headers: tuple[Header, ...] = ()
    parts: tuple[tuple[float, bytes], ...] = ()
    complete: bool = True


SILENCE = TimedAnswer()


def whole(reply: wire.Reply, pace: Pace, *, with_usage: bool, broken: bool) -> TimedAnswer:
    """Give the answer as one object, sent when all of it is ready; if broken, half of it."""
    body = json.dumps(wire.completion(reply, with_usage=with_usage)).encode()
    length = (b"content-length", str(len(body)).encode())
    sent = body[: len(body) // 2] if broken else body
    parts = ((pace.total_seconds(reply.usage.completion), sent),)
    return TimedAnswer((*_headers(reply, b"application/json"), length), parts, not broken)


def streamed(reply: wire.Reply, pace: Pace, *, with_usage: bool, broken: bool) -> TimedAnswer:
    """Give the answer as events, sent as the tokens are made; if broken, the first half."""
    first, pieces, last = wire.stream_events(reply, with_usage=with_usage)
    texts = [first + pieces[0], *pieces[1:]]
    if broken:
        del texts[max(1, len(texts) // 2) :]
    else:
        texts[-1] += last
    instants = pace.instants(reply.usage.completion, len(pieces))[: len(texts)]
    headers = (
        *_headers(reply, b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
    )
    return TimedAnswer(headers, tuple(zip(instants, texts, strict=True)), not broken)


async def deliver(answer: TimedAnswer, started: float, receive: Receive, send: Send) -> int:
    """
    Send an answer to a call that started at `started` (`time.perf_counter`).

    Returns the status for the record: 200, or `CLIENT_LEFT` when the client did not wait.
    """
    if not answer.parts:
        await _left(receive, None)
        return CLIENT_LEFT
    for index, (instant, part) in enumerate(answer.parts, start=1):
        if await _left(receive, instant - (time.perf_counter() - started)):
            return CLIENT_LEFT
        if index == 1:
            start = {"type": "http.response.start", "status": 200, "headers": answer.headers}
            await send(start)
        # Returning without a part that says it is the last makes the server cut the connection.
        more = index < len(answer.parts) or not answer.complete
        await send({"type": "http.response.body", "body": part, "more_body": more})
    return 200


async def _left(receive: Receive, seconds: float | None) -> bool:
    """Wait so long, or for ever; say whether the client left meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


def _headers(reply: wire.Reply, content_type: bytes) -> tuple[Header, ...]:
    return ((b"content-type", content_type), (b"x-request-id", f"req_{reply.id}".encode()))
