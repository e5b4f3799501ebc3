"""The app is killed while it writes to its cache: the next one is right, and knows what was kept."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from target_app.agent.conversation import MAX_CALLS
from target_app.agent.messages import ToolCall
from target_app.cache.database import FILE_NAME
from tests.target_app.resilience.llm_server import LLMServer
from tests.target_app.resilience.processes import AppProcess, running, settings_of, starting, until
from tests.target_app.scripted import call

pytestmark = pytest.mark.anyio

KILLS = 3
FILES = 18 * MAX_CALLS
WRITTEN_AT_LEAST = 40
"""How many more results are on disk when the app is killed; far more are yet to come."""


class Questions:
    """One question about each of many files, and the true answer to it."""

    def __init__(self, root: Path) -> None:
        (root / "many").mkdir()
        self._calls = []
        self._texts = []
        for number in range(FILES):
            path = f"many/{number:04}.txt"
            # Larger than a page of the database: an answer could be there in part.
            text = f"{number} " * 1000
            (root / path).write_text(text)
            self._calls.append(call("cat", path=path))
            self._texts.append(text)

    def parts(self) -> Iterator[tuple[list[ToolCall], list[str]]]:
        """Yield as many at a time as one turn has room for."""
        for start in range(0, FILES, MAX_CALLS):
            end = start + MAX_CALLS
            yield self._calls[start:end], self._texts[start:end]

    async def ask(self, app: AppProcess) -> None:
        """Ask everything, several chats at a time, and compare every answer with the truth."""
        parts = list(self.parts())

        async def some(first: int) -> None:
            for calls, texts in parts[first::4]:
                assert await app.says(*calls) == texts

        await asyncio.gather(*map(some, range(4)))


def rows(cache: Path) -> int:
    """Count what the database really holds, as another process sees it."""
    with contextlib.closing(sqlite3.connect(cache / FILE_NAME, timeout=5)) as database:
        [(count,)] = database.execute("SELECT COUNT(*) FROM results JOIN payloads USING (id)")
        [(verdict,)] = database.execute("PRAGMA integrity_check")
    assert verdict == "ok"
    return int(count)


async def killed_while_writing(app: AppProcess, questions: Questions, before: int) -> None:
    """Ask until some more results are on disk, and kill the app before the rest is."""

    async def more_is_written() -> bool:
        written = await app.total("cache_entries_total", cache_type="disk")
        return written >= before + WRITTEN_AT_LEAST

    asking = asyncio.ensure_future(questions.ask(app))
    await until(more_is_written)
    await app.kill()
    with pytest.raises(httpx.HTTPError):
        await asking


async def test_nothing_is_corrupt_after_a_kill(llm: LLMServer, root: Path) -> None:
    questions = Questions(root)
    cache = root.parent / "cache"
    known = 0
    for _ in range(KILLS):
        async with running(llm, root) as app:
            await killed_while_writing(app, questions, known)
        known = rows(cache)
        assert 0 < known < FILES

    async with running(llm, root) as app:
        await questions.ask(app)

        assert await app.hits() == known
        assert await app.total("cache_operations_total", result="error") == 0
        assert app.logged("made anew") == 0


async def test_what_was_cleared_before_a_kill_stays_cleared(
    llm: LLMServer, root: Path, tmp_path: Path
) -> None:
    question = call("cat", path="readme.md")
    cache = {"cache_directory": tmp_path}
    async with running(llm, root, **cache) as app:
        assert await app.says(question) == ["alpha\nbeta\ngamma"]
        await app.counts("cache_entries_total", 1, cache_type="disk")

        # The answer comes at once; the rows are removed later, or were to be.
        await app.client.delete("/api/cache")
        await app.kill()

    async with running(llm, root, **cache) as app:
        assert await app.says(question) == ["alpha\nbeta\ngamma"]
        assert await app.hits() == 0


@pytest.mark.parametrize("appeared", ["lock", FILE_NAME, f"{FILE_NAME}-wal", "search.generation"])
async def test_a_cache_that_was_only_begun_is_finished_by_the_next(
    llm: LLMServer, root: Path, tmp_path: Path, appeared: str
) -> None:
    log = tmp_path / "log.txt"
    cache = tmp_path / "cache"

    async def has_appeared() -> bool:
        return (cache / appeared).exists()

    settings = settings_of(llm, root, {"cache_directory": cache})
    async with starting(settings, log) as (pid, _):
        await until(has_appeared)
        os.kill(pid, signal.SIGKILL)

    async with running(llm, root, cache_directory=cache) as app:
        assert await app.says(call("cat", path="readme.md")) == ["alpha\nbeta\ngamma"]
        await app.counts("cache_entries_total", 1, cache_type="disk")
        assert app.logged("WARNING") == 0


async def test_no_command_outlives_the_app(llm: LLMServer, root: Path) -> None:
    async with running(llm, root, isolation="worker") as app:
        _, worker = app.family()
        # As in the middle of a command, it cannot see that nobody waits for its answer.
        worker.send_signal(signal.SIGSTOP)

        await app.kill()


async def test_an_upload_that_a_kill_cut_off_is_never_seen(llm: LLMServer, root: Path) -> None:
    folder = root / "uploads"
    folder.mkdir()
    begin = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="new.md"\r\n\r\n'

    async with running(llm, root) as app:

        async def has_begun() -> bool:
            return any(path.stat().st_size for path in folder.iterdir())

        async def cut_off() -> AsyncIterator[bytes]:
            yield begin + b"half of it"
            await until(has_begun)
            await app.kill()
            yield b""

        form = {"Content-Type": "multipart/form-data; boundary=cut"}
        with pytest.raises(httpx.HTTPError):
            await app.client.post(
                "/api/documents/upload?path=uploads", content=cut_off(), headers=form
            )

    async with running(llm, root) as app:
        seen = await app.says(
            call("ls", path="uploads", all=True),
            call("find", path="uploads"),
            call("grep", path="uploads", pattern="half"),
        )
        listed = await app.client.get("/api/documents?path=uploads&hidden=true")
        again = await app.client.post(
            "/api/documents/upload?path=uploads", files={"file": ("new.md", b"all of it")}
        )
    assert (seen, listed.json()["items"]) == (["", "", ""], [])
    assert again.status_code == 201
    assert (folder / "new.md").read_text() == "all of it"
