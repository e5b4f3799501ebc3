"""
Processor time of metrics measured within this process, where it can be told to the microsecond.

Two apps stand side by side in one process and are called in turn as a server would call them; each
round is a pair. What differs between processes, such as the layout of their memory, does not here.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import patient_llm
from estimates import Estimate, bootstrap
from fastapi import FastAPI
from interleaving import turns
from profiles import METRICS, OFF, app_settings, profile_settings
from pydantic import BaseModel
from servers import SYSTEM, Server
from starlette.types import ASGIApp, Message, Scope

from target_app.main import create_app
from target_app.observability.metrics import Metrics
from target_app.observability.middleware import MetricsMiddleware

WARM_UP_ROUNDS = 5
PLANS = ("plan", "plan", "none")


class Order(BaseModel):
    """What is posted to the app that shows what the middleware costs."""

    name: str
    amount: int


class Receipt(BaseModel):
    """What it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class Round:
    """CPU seconds of one request, without and with what is measured."""

    off: float
    on: float


async def measure_middleware(rounds: int, requests: int) -> dict[str, Estimate]:
    """Compare a bare app, a POST with a pydantic body, with the same behind the middleware."""
    bare, measured = _shop(), _shop()
    measured.add_middleware(MetricsMiddleware, metrics=Metrics(), exclude_paths=("/metrics",))
    body = json.dumps({"name": "apple", "amount": 3}).encode()
    pairs = await _rounds(
        lambda number: _ask(bare, "/orders", body),  # noqa: ARG005
        lambda number: _ask(measured, "/orders", body),  # noqa: ARG005
        rounds,
        requests,
    )
    count = rounds * requests
    return {
        "middleware_cpu_ratio": bootstrap(
            pairs, lambda drawn: statistics.median(r.on / r.off for r in drawn),
            count=count, unit="ratio",
        ),
        "middleware_cpu_added_seconds": bootstrap(
            pairs, lambda drawn: statistics.median(r.on - r.off for r in drawn),
            count=count, unit="seconds",
        ),
    }  # fmt: skip


async def measure_metrics(
    llm: Server, documents: Path, folder: Path, rounds: int, requests: int
) -> dict[str, Estimate]:
    """
    Compare the whole app with metrics, and nothing else, with the app in the profile off.

    The LLM is a process of its own; the sandbox's processes rest, because caches are warm.
    """
    async with (
        _app(OFF, llm, documents, folder) as off,
        _app(METRICS, llm, documents, folder) as on,
    ):

        def asking(app: ASGIApp) -> Callable[[int], Awaitable[None]]:
            return lambda number: _ask(
                app, "/api/chat", patient_llm.question(PLANS[number % len(PLANS)], number)
            )

        pairs = await _rounds(asking(off), asking(on), rounds, requests)
    count = rounds * requests

    def share(drawn: Sequence[Round]) -> float:
        # Of every pair first: what a slow spell adds to both sides goes out.
        return statistics.median(r.on / r.off for r in drawn) - 1

    return {
        "metrics_cpu_share": bootstrap(pairs, share, count=count, unit="ratio"),
        "metrics_cpu_seconds": bootstrap(
            pairs, lambda drawn: statistics.median(r.on - r.off for r in drawn),
            count=count, unit="seconds",
        ),
        "off_cpu_in_process_seconds": bootstrap(
            pairs, lambda drawn: statistics.median(r.off for r in drawn),
            count=count, unit="seconds",
        ),
    }  # fmt: skip


async def _rounds(
    off: Callable[[int], Awaitable[None]],
    on: Callable[[int], Awaitable[None]],
    rounds: int,
    requests: int,
) -> list[Round]:
    """Measure pairs of rounds, after some that warm both up."""
    ways = {"off": off, "on": on}
    for turn in turns(WARM_UP_ROUNDS):
        await _cpu(ways[turn.side], requests)
    # What is there by now stays: nobody has to look through it again.
    gc.freeze()
    cpu = {(turn.pair, turn.side): await _cpu(ways[turn.side], requests) for turn in turns(rounds)}
    gc.unfreeze()
    return [Round(cpu[pair, "off"], cpu[pair, "on"]) for pair in range(rounds)]


async def _cpu(ask: Callable[[int], Awaitable[None]], requests: int) -> float:
    """Measure CPU seconds of one request. Nobody pays for the garbage of the round before."""
    gc.collect()
    begun = time.process_time()
    for number in range(requests):
        await ask(number)
    return (time.process_time() - begun) / requests


async def _ask(app: ASGIApp, path: str, body: bytes) -> None:
    """Post to an app as a server does. Raises RuntimeError for any answer but 200."""
    asked = iter([{"type": "http.request", "body": body, "more_body": False}])
    statuses: list[int] = []
    never = asyncio.Event()

    async def receive() -> Message:
        message = next(asked, None)
        if message is None:
            await never.wait()
        return message or {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"{path} was answered with {statuses}")


def _shop() -> FastAPI:
    app = FastAPI()

    @app.post("/orders")
    async def order(order: Order) -> Receipt:
        return Receipt(text=f"{order.amount} of {order.name}")

    return app


@asynccontextmanager
async def _app(profile: str, llm: Server, documents: Path, folder: Path) -> AsyncIterator[ASGIApp]:
    """Make the app in this process, with its own parts, and start it."""
    cache = folder / f"{profile}_in_process_cache"
    # The settings come from the environment: the caller's must not reach what is measured.
    os.environ.clear()
    os.environ.update(
        {**SYSTEM, **app_settings(llm, documents, cache), **profile_settings(profile, llm)}
    )
    # What the app says as it starts is not what is measured, and belongs to no terminal.
    logging.disable(logging.INFO)
    app = create_app()
    async with app.router.lifespan_context(app):
        yield app
