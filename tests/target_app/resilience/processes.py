"""The app as a process of its own, and what a test wants to know of it."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx
import psutil

from target_app.agent.messages import ToolCall
from target_app.cache.state import SETTLED_AFTER_NS
from tests.target_app.resilience.llm_server import WAIT_SECONDS, LLMServer, plan
from tests.target_app.resilience.served import serve

LOOK_SECONDS = 0.005
LABEL = re.compile(r'(\w+)="([^"]*)"')

# Importing the app takes two seconds: one process does it, and all others are forked from it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([serve.__module__])


class AppStartError(Exception):
    """The app did not start; the message is what it wrote."""


@dataclass(frozen=True, slots=True)
class AppProcess:
    """A running app. `log` is all that it and its workers write to standard error."""

    pid: int
    client: httpx.AsyncClient
    log: Path

    def logged(self, words: str) -> int:
        """Count the lines of the log with these words in them."""
        return sum(words in line for line in self.log.read_text().splitlines())

    def family(self) -> list[psutil.Process]:
        """Find the process and every other that it started, or that those started."""
        process = psutil.Process(self.pid)
        return [process, *process.children(recursive=True)]

    async def chat(self, message: str, session_id: str | None = None) -> httpx.Response:
        """Send a message."""
        body = {"message": message} | ({"session_id": session_id} if session_id else {})
        return await self.client.post("/api/chat", json=body)

    async def stream(self, message: str) -> list[tuple[str, dict[str, Any]]]:
        """Send a message, and read the events that come of it."""
        answer = await self.client.post("/api/chat/stream", json={"message": message})
        return events(answer.text)

    async def results(self, *calls: ToolCall) -> list[dict[str, Any]]:
        """Have the LLM make these calls in one turn, and answer what they came to."""
        answer = await self.chat(plan(calls))
        assert answer.status_code == 200, answer.text
        results = [told["result"] for told in answer.json()["tool_results"]]
        assert len(results) == len(calls)
        return results

    async def says(self, *calls: ToolCall) -> list[str]:
        """Have the LLM make these calls, all of which are to succeed, and answer the outputs."""
        results = await self.results(*calls)
        assert [result["error"] for result in results] == [None] * len(calls)
        return [result["stdout"] for result in results]

    async def total(self, name: str, **labels: str) -> float:
        """Add up the series of a metric that have these labels."""
        page = (await self.client.get("/metrics")).text
        series = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", page, re.MULTILINE)
        return sum(
            float(value)
            for text, value in series
            if labels.items() <= dict(LABEL.findall(text)).items()
        )

    async def counts(self, name: str, count: float, **labels: str) -> None:
        """Wait until a metric has come so far, which it may not pass."""
        seen = [0.0]

        async def reached() -> bool:
            seen[0] = await self.total(name, **labels)
            return seen[0] >= count

        try:
            await until(reached)
        except TimeoutError:
            raise AssertionError(f"{name} {labels} is {seen[0]} and not {count}") from None
        assert seen[0] == count, f"{name} {labels} is {seen[0]} and not {count}"

    async def hits(self) -> float:
        """Count the answers that were remembered."""
        return await self.total("cache_operations_total", operation="get", result="hit")

    async def kill(self) -> None:
        """Kill the app as the system does, and see that nothing of it stays."""
        family = self.family()
        family[0].kill()
        await gone(family)


def settings_of(llm: LLMServer, root: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Write the environment of an app on `root`, whose cache is beside it if none is named."""
    chosen = {
        "data_root_path": root,
        "cache_directory": root.parent / "cache",
        "openai_api_key": "unused",
        "openai_base_url": llm.url,
        "isolation": "paths",
        "sandbox_workers": 1,
        "cache_management_enabled": "true",
        # Loading a tokenizer takes a second of each start.
        "token_check_every": 0,
        **settings,
    }
    return {"PATH": os.environ["PATH"]} | {
        name.upper(): str(value) for name, value in chosen.items()
    }


@asynccontextmanager
async def running(
    llm: LLMServer, root: Path, *, retry_seconds: float | None = None, **settings: Any
) -> AsyncIterator[AppProcess]:
    """
    Start the app on `root` and a free port; when the block ends, so does the app.

    Settings are those of the app. With `retry_seconds` a disk of the cache that failed is tried
    again so soon.
    """
    log = root.parent / f"log-{time.monotonic_ns()}.txt"
    more = () if retry_seconds is None else (retry_seconds,)
    async with (
        starting(settings_of(llm, root, settings), log, *more) as (pid, port),
        asked(pid, port, log) as app,
    ):
        yield app


@asynccontextmanager
async def starting(
    environment: Mapping[str, str], log: Path, *more: float
) -> AsyncIterator[tuple[int, int]]:
    """Begin to start the app, and answer its process and its port; when the block ends, end it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        process = FORKS.Process(target=serve, args=(listening, environment, log, *more))
        await asyncio.to_thread(process.start)
    try:
        yield process.pid or 0, port
    finally:
        await _ended(process)


@asynccontextmanager
async def asked(pid: int, port: int, log: Path) -> AsyncIterator[AppProcess]:
    """
    Wait for a process to serve, and talk to it while the block lasts.

    The port takes connections already; the answer comes once the app is ready.
    """
    async with client_of(f"http://127.0.0.1:{port}") as client:
        try:
            answer = await client.get("/health")
        except httpx.HTTPError as error:
            raise AppStartError(log.read_text()) from error  # noqa: ASYNC240 - a few lines
        assert answer.status_code == 200, answer.text
        yield AppProcess(pid, client, log)


def client_of(url: str) -> httpx.AsyncClient:
    """Make a client. Not to read certificates is what makes it cheap."""
    return httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS, verify=False, trust_env=False)


async def _ended(process: ForkServerProcess) -> None:
    """End an app as an operator does; nothing that it started may stay."""
    family = []
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
    await asyncio.to_thread(process.join, WAIT_SECONDS)
    if process.is_alive():
        process.kill()
        await asyncio.to_thread(process.join)
        raise AssertionError("the app did not end when it was told to")
    process.close()
    await gone(family)


async def gone(processes: list[psutil.Process]) -> None:
    """Wait until processes have ended by themselves."""
    _, left = await asyncio.to_thread(psutil.wait_procs, processes, WAIT_SECONDS)
    for process in left:
        process.kill()
    assert left == []


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is true. Raises TimeoutError."""
    async with asyncio.timeout(WAIT_SECONDS):
        # Nothing tells when another process has come so far.
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)


async def settled() -> None:
    """Wait until whatever was written before is old enough to be remembered."""
    written_at = time.time_ns()

    async def is_old() -> bool:
        return time.time_ns() - written_at > SETTLED_AFTER_NS

    await until(is_old)


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Read server-sent events; comments are left out."""
    found = re.findall(r"^event: (\w+)\ndata: (.*)$", text, re.MULTILINE)
    return [(name, json.loads(data)) for name, data in found]
