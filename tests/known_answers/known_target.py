"""
A target whose every answer and figure is known, run in a process of its own.

`python known_target.py '{"seconds": 0.02, "fails_every": 10}'` prints its address. What is asked
decides too: a message of TROUBLES is answered as badly as its name says.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

BOUNDS = (0.01, 0.05, 0.25, 1.0, 2.5)


@dataclass
class Known:
    """What it does, as its first argument says; and what it did."""

    seconds: float = 0.02
    fails_every: int = 0
    loses_every: int = 0
    dies_after: int = 0
    metrics: str = "good"
    address: str = "127.0.0.1"
    port: int = 0
    certificate: str = ""
    chats: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)

    def exposition(self) -> str:
        """Write the metrics as plain text; nothing but this test knows how."""
        seen = sorted(self.durations)
        name, labels = "http_request_duration_seconds", 'method="POST",endpoint="/api/chat"'
        lines = [f"# TYPE {name} histogram"]
        for bound in (*BOUNDS, float("inf")):
            le = "+Inf" if bound == float("inf") else str(bound)
            below = sum(s <= bound for s in seen)
            lines.append(f'{name}_bucket{{{labels},le="{le}"}} {below}')
        lines += [f"{name}_sum{{{labels}}} {sum(seen)!r}", f"{name}_count{{{labels}}} {len(seen)}"]
        lines.append("# TYPE http_requests_total counter")
        for status in ("200", "500"):
            lines.append(f'http_requests_total{{status="{status}"}} {self.statuses[status]}')
        return "\n".join(lines) + "\n"


known = Known(**json.loads(sys.argv[1]))


async def chat(request: Request) -> Response:
    """Answer in the time told; fail, forget to count, or die where told."""
    begin = time.perf_counter()
    known.chats += 1
    # Who asked, and with which trace id.
    peer = request.client.host if request.client else ""
    known.asked.append((peer, request.headers.get("traceparent", "--").split("-")[1]))
    number = known.chats
    if known.dies_after and number > known.dies_after:
        os._exit(1)
    await asyncio.sleep(known.seconds)
    asked = str((await request.json()).get("message"))
    if asked == "never":
        await asyncio.sleep(3600)
    fails = known.fails_every and number % known.fails_every == 0
    if not (known.loses_every and number % known.loses_every == 0):
        known.durations.append(time.perf_counter() - begin)
        known.statuses["500" if fails else "200"] += 1
    if fails:
        return JSONResponse({"detail": "told to fail"}, 500)
    if asked in TROUBLES:
        media_type, trouble = TROUBLES[asked]
        return StreamingResponse(trouble(), media_type=media_type)
    if request.url.path.endswith("/stream"):
        return StreamingResponse(stream(), media_type="text/event-stream")
    return JSONResponse({"response": "42 s"})


async def stream() -> AsyncIterator[str]:
    """Stream one token and the end."""
    yield TOKEN
    yield "event: done\ndata: {}\n\n"


async def huge() -> AsyncIterator[bytes]:
    """Answer rightly, but with 100 MB of text."""
    yield b'{"response": "42 s'
    for _ in range(100):
        yield b"x" * 1_000_000
    yield b'"}'


async def no_json() -> AsyncIterator[str]:
    """Answer as a proxy would, with a page."""
    yield "<html>It works!</html>"


async def garbled() -> AsyncIterator[str]:
    """Stream an event that breaks off within its JSON, then the end."""
    yield 'event: token\ndata: {"content": "42\n\n'
    yield "event: done\ndata: {}\n\n"


async def no_end() -> AsyncIterator[str]:
    """Stream a token, and end as if that were all."""
    yield TOKEN


async def cut() -> AsyncIterator[str]:
    """Stream a token, and close the connection within the next."""
    yield TOKEN
    yield TOKEN[:20]
    raise asyncio.CancelledError


async def stalled() -> AsyncIterator[str]:
    """Stream a token, and then nothing any more."""
    yield TOKEN
    await asyncio.sleep(3600)


async def endless() -> AsyncIterator[bytes]:
    """Stream one line of 100 MB."""
    yield b"event: token\ndata: "
    for _ in range(100):
        yield b"x" * 1_000_000


TOKEN = 'event: token\ndata: {"content": "42 s"}\n\n'
SSE = "text/event-stream"
TROUBLES: dict[str, tuple[str, Callable[[], AsyncIterator[str | bytes]]]] = {
    "huge": ("application/json", huge),
    "no json": ("text/html", no_json),
    "garbled": (SSE, garbled),
    "no end": (SSE, no_end),
    "cut": (SSE, cut),
    "stalled": (SSE, stalled),
    "endless": (SSE, endless),
}


async def metrics(_: Request) -> Response:
    """Tell the truth, or nonsense, or nothing."""
    if known.metrics == "none":
        return PlainTextResponse("Not Found", 404)
    if known.metrics == "malformed":
        return PlainTextResponse('http_requests_total{status="200} 5\n')
    return PlainTextResponse(known.exposition())


async def fine(_: Request) -> Response:
    """Say that all is well."""
    return JSONResponse({"status": "ok"})


async def truth(_: Request) -> Response:
    """Tell the test how many chats came, and from where."""
    return JSONResponse({"chats": known.chats, "asked": known.asked})


app = Starlette(
    routes=[
        Route("/health", fine),
        Route("/metrics", metrics),
        Route("/truth", truth),
        Route("/api/chat", chat, methods=["POST"]),
        Route("/api/chat/stream", chat, methods=["POST"]),
        Route("/api/cache", fine, methods=["DELETE"]),
    ]
)

if __name__ == "__main__":
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((known.address, known.port))
    listening.listen(512)
    scheme = "https" if known.certificate else "http"
    print(f"{scheme}://{known.address}:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(
        app,
        log_level="critical",
        timeout_keep_alive=60,
        ssl_certfile=known.certificate or None,
    )
    uvicorn.Server(config).run(sockets=[listening])
