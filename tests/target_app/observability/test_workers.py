"""Two real workers of one server: whichever is scraped, all that both did is told."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from target_app.observability.multiprocess import PATTERN
from tests.target_app.exposition import Series, exposition
from tests.target_app.resilience.llm_server import LLMServer, llm_up, plan
from tests.target_app.resilience.processes import client_of, gone, settings_of

pytestmark = pytest.mark.anyio

BY_ITSELF = (sys.executable, "-m", "target_app")
BY_UVICORN = (
    sys.executable, "-m", "uvicorn", "target_app.main:create_app", "--factory",
    "--workers", "2", "--host", "127.0.0.1", "--no-access-log", "--port",
)  # fmt: skip
CHAT = plan()
START_SECONDS = 120.0
"""Three processes load everything, on a machine that may have a lot else to do."""

ALL_DID = {
    "http_requests_total endpoint=/api/chat method=POST status=200": 100,
    "http_request_duration_seconds_count endpoint=/api/chat method=POST": 100,
    "agent_completions_total status=success": 100,
    "agent_completions_total status=error": 0,
    "llm_calls_total status=success": 100,
    "session_messages_total_count": 100,
    "http_requests_in_flight": 0,
}


@dataclass(frozen=True)
class Server:
    """A server with two workers, and where they count."""

    parent: psutil.Process
    url: str
    directory: Path

    def workers(self) -> list[psutil.Process]:
        pids = {int(file.stem.rpartition("_")[2]) for file in self.directory.glob(PATTERN)}
        return sorted(
            (child for child in self.parent.children() if child.pid in pids),
            key=lambda child: child.pid,
        )

    async def chat(self, times: int) -> None:
        async with client_of(self.url) as client:
            for _ in range(times):
                answer = await client.post("/api/chat", json={"message": CHAT})
                assert answer.status_code == 200, answer.text

    async def scrape(self) -> Series:
        async with client_of(self.url) as client:
            return await exposition(client)


def fds(workers: Sequence[psutil.Process]) -> int:
    return sum(worker.num_fds() for worker in workers)


def rss(workers: Sequence[psutil.Process]) -> int:
    return sum(worker.memory_info().rss for worker in workers)


def cpu(workers: Sequence[psutil.Process]) -> float:
    times = [worker.cpu_times() for worker in workers]
    return sum(time.user + time.system for time in times)


@contextmanager
def only(workers: Sequence[psutil.Process], chosen: int) -> Any:
    """Let no other worker answer: the kernel gives a connection to whoever takes it first."""
    others = [worker for number, worker in enumerate(workers) if number != chosen]
    for other in others:
        other.suspend()
    try:
        yield
    finally:
        for other in others:
            other.resume()


@asynccontextmanager
async def two_workers(
    command: Sequence[str], llm: LLMServer, documents: Path, directory: Path | None = None
) -> AsyncIterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = {
        **settings_of(llm, documents, {"workers": 2, "port": port}),
        "TMPDIR": str(documents.parent),
        "PYTHONPATH": str(Path.cwd()),
    }
    if directory is not None:
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    if command == BY_UVICORN:
        command = (*command, port)
    log = documents.parent / "log.txt"
    with log.open("wb") as written:
        process = subprocess.Popen(command, env=environment, stdout=written, stderr=written)  # noqa: ASYNC220
    parent = psutil.Process(process.pid)

    async def start() -> None:
        # Nothing tells when another process has come so far.
        while log.read_text().count("Application startup complete") < 2:
            assert process.poll() is None, log.read_text()
            await asyncio.sleep(0.05)

    family: list[psutil.Process] = []
    try:
        await asyncio.wait_for(start(), START_SECONDS)
        if directory is None:
            (directory,) = documents.parent.glob(f"target-app-metrics-*/{process.pid}-*")
        yield Server(parent, f"http://127.0.0.1:{port}", directory)
        family = parent.children()
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
        left = psutil.wait_procs(family, 20)[1]
        for child in left:
            child.kill()
    assert left == []


@pytest.fixture
async def llm() -> AsyncIterator[LLMServer]:
    async with llm_up() as server:
        yield server


@pytest.mark.parametrize(
    "command",
    [pytest.param(BY_ITSELF, id="by itself"), pytest.param(BY_UVICORN, id="by uvicorn")],
)
async def test_each_worker_tells_what_all_did(
    command: Sequence[str], llm: LLMServer, documents: Path
) -> None:
    async with two_workers(command, llm, documents) as server:
        workers = server.workers()
        assert len(workers) == 2
        for _ in range(5):
            with only(workers, 0):
                await server.chat(8)
            with only(workers, 1):
                await server.chat(12)

        pages = []
        for number in (0, 1):
            with only(workers, number):
                pages.append(await server.scrape())
        for page in pages:
            assert {name: page[name] for name in ALL_DID} == ALL_DID
            assert page["sandbox_isolation_info level=paths required=paths"] == 1
            # Of both: a scrape itself takes a connection or two, and a little memory.
            assert page["process_open_fds"] == pytest.approx(fds(workers), abs=6)
            assert page["process_resident_memory_bytes"] == pytest.approx(rss(workers), rel=0.1)
            assert page["process_cpu_seconds_total"] == pytest.approx(cpu(workers), rel=0.1)
            assert page["process_start_time_seconds"] == server.parent.create_time()
            assert not any("pid=" in series for series in page)
        # The second was scraped after the first, and shows what that one had read by then.
        assert pages[1]["active_sessions_total"] == 100

        workers[0].kill()
        await gone(workers[:1])
        after = await server.scrape()

    assert {name: after[name] for name in ALL_DID} == ALL_DID
    assert after["active_sessions_total"] == 60
    assert after["process_start_time_seconds"] == pages[0]["process_start_time_seconds"]
    # Nothing runs when uvicorn ends by itself: the next server tidies up.
    assert server.directory.exists() == (command == BY_UVICORN)
