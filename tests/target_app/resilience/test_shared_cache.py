"""Two processes on one cache: what one read the other has, and nothing is old for either."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from target_app.agent.messages import ToolCall
from tests.target_app.resilience.llm_server import WAIT_SECONDS, LLMServer
from tests.target_app.resilience.processes import (
    AppProcess,
    asked,
    gone,
    running,
    settings_of,
    settled,
    until,
)
from tests.target_app.scripted import call

pytestmark = pytest.mark.anyio

ROUNDS = 25

EVERY_TOOL = [
    call("ls", path="."),
    call("find", path=".", name_pattern="*.txt"),
    call("grep", path=".", pattern="alpha"),
    call("cat", path="readme.md"),
    call("head", path="readme.md", lines=1),
    call("tail", path="readme.md", lines=1),
    call("tree", path="."),
    call("wc", path="readme.md"),
    call("preview", path="readme.md"),
    call("smart_read", path="teams/red.txt"),
]

Pair = tuple[AppProcess, AppProcess]


@pytest.fixture(scope="module")
async def pair(llm: LLMServer, root: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        starting = (stack.enter_async_context(running(llm, root)) for _ in range(2))
        first, second = await asyncio.gather(*starting)
        yield first, second


async def remember(app: AppProcess) -> list[str]:
    """Have an app use every tool, and wait until the others can know of it."""
    await app.client.delete("/api/cache")
    told = await app.says(*EVERY_TOOL)
    await app.counts("cache_entries_total", len(EVERY_TOOL), cache_type="disk")
    return told


async def test_what_one_process_read_the_other_hits(pair: Pair) -> None:
    first, second = pair
    told = await remember(first)
    before = await second.hits(), await second.total("sandbox_executions_total")

    assert await second.says(*EVERY_TOOL) == told
    hits, ran = await second.hits(), await second.total("sandbox_executions_total")

    assert (hits - before[0], ran - before[1]) == (len(EVERY_TOOL), 0)


async def test_what_one_process_clears_no_other_remembers(pair: Pair) -> None:
    first, second = pair
    told = await remember(first)
    assert await second.says(*EVERY_TOOL) == told
    before = [(await app.hits(), await app.total("sandbox_executions_total")) for app in pair]

    cleared = await second.client.delete("/api/cache")

    assert cleared.json() == {"cleared": len(EVERY_TOOL)}
    assert await first.says(*EVERY_TOOL) == told
    assert await second.says(*EVERY_TOOL) == told
    after = [(await app.hits(), await app.total("sandbox_executions_total")) for app in pair]
    ran = sum(now[1] - then[1] for now, then in zip(after, before, strict=True))
    found = sum(now[0] - then[0] for now, then in zip(after, before, strict=True))
    # Whoever asks first has nothing; the other may find what the first has written since.
    assert after[0] == (before[0][0], before[0][1] + len(EVERY_TOOL))
    assert ran + found == 2 * len(EVERY_TOOL)


class Mutable:
    """A folder that changes, and what the tools are to say of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts = {f"file-{number}.txt": f"needle {number}\n" for number in range(6)}
        self._random = random.Random(20261122)
        self._made = 0
        folder.mkdir()
        for name, text in self.texts.items():
            (folder / name).write_text(text)

    def change(self) -> None:
        """Make one change: other text of the same size, a file more or less, or another name."""
        name = self._random.choice(sorted(self.texts))
        kind = self._random.choice(["edit", "edit", "create", "delete", "rename"])
        self._made += 1
        new = f"new-{self._made}.txt"
        if kind == "delete" and len(self.texts) > 3:
            del self.texts[name]
            (self.folder / name).unlink()
        elif kind == "rename":
            self.texts[new] = self.texts.pop(name)
            (self.folder / name).rename(self.folder / new)
        elif kind == "create":
            self.texts[new] = f"needle {self._made % 10}\n"
            (self.folder / new).write_text(self.texts[new])
        else:
            self.texts[name] = f"needle {self._made % 10}\n"
            (self.folder / name).write_text(self.texts[name])

    def questions(self) -> list[ToolCall]:
        path = self.folder.name
        some = min(self.texts)
        return [
            call("ls", path=path),
            call("find", path=path, name_pattern="*"),
            call("grep", path=path, pattern="needle"),
            call("cat", path=f"{path}/{some}"),
        ]

    def truth(self) -> list[str]:
        path = self.folder.name
        texts = sorted(self.texts.items())
        return [
            "\n".join(name for name, _ in texts),
            "\n".join(f"{path}/{name}" for name, _ in texts),
            "\n".join(f"{path}/{name}:1:{text.strip()}" for name, text in texts),
            texts[0][1].strip(),
        ]


async def test_a_change_is_seen_by_both_at_once(pair: Pair, root: Path) -> None:
    mutable = Mutable(root / "mutable")
    before = [await app.hits() for app in pair]

    for number in range(ROUNDS):
        # Both know the answers of before, in memory and on disk.
        mutable.change()
        told = await asyncio.gather(*(app.says(*mutable.questions()) for app in pair))
        assert told == [mutable.truth()] * 2, f"stale at once in round {number}"
        await settled()
        for app in (*pair, *pair):
            assert await app.says(*mutable.questions()) == mutable.truth(), f"round {number}"

    gained = [await app.hits() - hits for app, hits in zip(pair, before, strict=True)]
    # Else nothing was remembered that could have been old.
    assert min(gained) >= ROUNDS * len(mutable.questions())


async def test_the_workers_of_one_server_share_the_cache(llm: LLMServer, tmp_path: Path) -> None:
    root = tmp_path / "documents"
    root.mkdir()
    (root / "readme.md").write_text("alpha\nbeta\ngamma\n")
    async with served_by_two(llm, root) as (port, workers):
        for worker, other, known in ((*workers, 0), (*workers[::-1], 1)):
            # Whoever is stopped takes no connection, so the one that is meant does.
            other.send_signal(signal.SIGSTOP)
            try:
                async with asked(worker.pid, port, tmp_path / "log.txt") as app:
                    assert await app.says(call("cat", path="readme.md")) == ["alpha\nbeta\ngamma"]
                    if not known:
                        await app.counts("cache_entries_total", 1, cache_type="disk")
                    assert await app.hits() == known
            finally:
                other.send_signal(signal.SIGCONT)


@asynccontextmanager
async def served_by_two(
    llm: LLMServer, root: Path
) -> AsyncIterator[tuple[int, list[psutil.Process]]]:
    """Start a server as its own command does it; answer its port and its two workers."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        (root.parent / "log.txt").open("wb") as log,
    ):
        fd, port = listening.fileno(), listening.getsockname()[1]
        server = subprocess.Popen(  # noqa: ASYNC220 - nothing else goes on
            [
                *(sys.executable, "-m", "uvicorn", "target_app.main:create_app", "--factory"),
                *("--workers", "2", "--fd", str(fd), "--timeout-worker-healthcheck", "60"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=settings_of(llm, root, {"PYTHONDONTWRITEBYTECODE": 1}),
            cwd=root.parent,
            pass_fds=(fd,),
        )
    family = []

    async def are_both_up() -> bool:
        return (root.parent / "log.txt").read_text().count("startup complete") == 2

    try:
        await until(are_both_up)
        family = psutil.Process(server.pid).children()
        yield port, [worker for worker in family if "spawn_main" in " ".join(worker.cmdline())]
    finally:
        server.terminate()
        await asyncio.to_thread(server.wait, WAIT_SECONDS)
        await gone(family)
