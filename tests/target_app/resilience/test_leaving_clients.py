"""Clients who leave before they are answered: the work for them ends, and nothing stays of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.target_app.resilience.llm_server import LLMServer, plan
from tests.target_app.resilience.processes import AppProcess, client_of, running, until
from tests.target_app.scripted import call

pytestmark = pytest.mark.anyio

TIMES = 15
"""On each of two routes, in each of two places: sixty times in all."""

ROUTES = ["/api/chat", "/api/chat/stream"]
READ = call("cat", path="readme.md")


@pytest.fixture(scope="module")
async def app(llm: LLMServer, root: Path) -> AsyncIterator[AppProcess]:
    # With no cache every call is a command.
    none = {"cache_size_limit": 0, "cache_memory_limit": 0}
    async with running(llm, root, isolation="worker", **none) as started:
        yield started


@asynccontextmanager
async def asking(app: AppProcess, route: str, message: str) -> AsyncIterator[None]:
    """Send a question on a connection of its own, and hang up when the block ends."""
    async with client_of(str(app.client.base_url)) as client:
        answering = asyncio.ensure_future(client.post(route, json={"message": message}))
        try:
            yield
            assert not answering.done(), "it was answered before the client could leave"
        finally:
            answering.cancel()
            await asyncio.wait({answering})


@dataclass(frozen=True, slots=True)
class Before:
    """What was open and counted before anybody left."""

    app: AppProcess
    descriptors: int
    sessions: float
    left: float
    failed: float

    @classmethod
    async def of(cls, app: AppProcess) -> Before:
        return cls(
            app,
            descriptors=psutil.Process(app.pid).num_fds(),
            sessions=await app.total("active_sessions_total"),
            left=await app.total("errors_total", error_type="client_disconnected"),
            failed=await app.total("agent_completions_total", status="error"),
        )

    async def left_since(self, count: int) -> None:
        """Wait until so many chats have ended because their client left."""
        kind = {"error_type": "client_disconnected", "component": "agent"}
        await self.app.counts("errors_total", self.left + count, **kind)

    async def nothing_stays(self) -> None:
        """Wait until nothing more is open than before; a chat that went on would hold a session."""
        assert await self.app.total("active_sessions_total") == self.sessions
        failed = await self.app.total("agent_completions_total", status="error")
        left = await self.app.total("errors_total", error_type="client_disconnected")
        assert failed - self.failed == left - self.left

        async def is_closed() -> bool:
            return psutil.Process(self.app.pid).num_fds() <= self.descriptors

        await until(is_closed)


async def worker_of(app: AppProcess) -> psutil.Process:
    """Find the process that runs the commands; one that was killed is replaced at the next."""
    answer = await app.chat(plan([READ]), "kept")
    [told] = answer.json()["tool_results"]
    assert told["result"]["stdout"] == "alpha\nbeta\ngamma"
    [worker] = psutil.Process(app.pid).children()
    return worker


@pytest.mark.parametrize("route", ROUTES)
async def test_who_leaves_while_the_llm_thinks_ends_its_call(
    app: AppProcess, llm: LLMServer, route: str
) -> None:
    await worker_of(app)
    before = await Before.of(app)
    asked, left = len(llm.asked), llm.left
    calls = await app.total("llm_calls_total", status="error")

    llm.is_silent = True
    for time in range(1, TIMES + 1):
        async with asking(app, route, plan([READ])):
            await llm.until(lambda: len(llm.asked) == asked + time)  # noqa: B023
        await llm.until(lambda: llm.left == left + time)  # noqa: B023
    llm.is_silent = False

    await before.left_since(TIMES)
    assert await app.total("llm_calls_total", status="error") == calls + TIMES
    await worker_of(app)
    await before.nothing_stays()


@pytest.mark.parametrize("route", ROUTES)
async def test_who_leaves_while_a_tool_runs_ends_its_chat(
    app: AppProcess, llm: LLMServer, route: str
) -> None:
    await worker_of(app)
    before = await Before.of(app)
    begun = await app.total("tool_semaphore_wait_seconds_count")

    for time in range(1, TIMES + 1):
        worker = await worker_of(app)
        asked = len(llm.asked)
        # While its process stands still, a command goes on for as long as the test needs.
        worker.send_signal(signal.SIGSTOP)
        async with asking(app, route, plan([READ], [READ])):
            await app.counts("tool_semaphore_wait_seconds_count", begun + 2 * time)
        await before.left_since(time)
        # On a busy machine it was killed by now, for it owes its answer too long.
        with suppress(psutil.NoSuchProcess):
            worker.send_signal(signal.SIGCONT)
        assert len(llm.asked) == asked + 1

    await before.nothing_stays()


async def test_a_command_that_hangs_after_its_client_left_is_replaced(app: AppProcess) -> None:
    worker = await worker_of(app)
    before = await Before.of(app)
    restarts = await app.total("sandbox_worker_restarts_total")
    begun = await app.total("tool_semaphore_wait_seconds_count")

    worker.send_signal(signal.SIGSTOP)
    async with asking(app, "/api/chat", plan([READ])):
        await app.counts("tool_semaphore_wait_seconds_count", begun + 1)

    assert await worker_of(app) != worker
    assert await app.total("sandbox_worker_restarts_total") == restarts + 1
    await before.nothing_stays()
