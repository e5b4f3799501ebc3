"""The disk of the cache is full, gone, read-only or damaged: answers go on, and it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from target_app.agent.messages import ToolCall
from target_app.cache.database import FILE_NAME
from tests.target_app.resilience.full_disks import WAYS, unwritable
from tests.target_app.resilience.llm_server import LLMServer
from tests.target_app.resilience.processes import AppProcess, running, until
from tests.target_app.scripted import call

pytestmark = pytest.mark.anyio

RETRY_SECONDS = 0.1
GOING_ON, BACK = "going on without the cache on disk", "the cache on disk works again"
FILES = 8
TEXTS = [f"{number} " * 3000 for number in range(FILES)]
"""More together than fits into a small file."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    documents = tmp_path_factory.mktemp("documents") / "documents"
    documents.mkdir()
    for number, text in enumerate(TEXTS):
        (documents / f"{number:02}.txt").write_text(text)
    return documents


def first_lines(lines: int) -> list[ToolCall]:
    """Ask a question about each file that was not asked before with fewer lines or more."""
    return [call("head", path=f"{number:02}.txt", lines=lines) for number in range(FILES)]


async def ask_anew(app: AppProcess, numbers: Iterator[int]) -> None:
    """Ask what was never asked, so that there is something to store; check the answers."""
    assert await app.says(*first_lines(next(numbers))) == TEXTS


async def errors(app: AppProcess) -> float:
    return await app.total("cache_operations_total", operation="set", result="error")


async def stored(app: AppProcess) -> float:
    return await app.total("cache_entries_total", cache_type="disk")


async def until_stored(app: AppProcess, numbers: Iterator[int]) -> None:
    """Ask until the disk is used again."""
    before = await stored(app)

    async def is_stored() -> bool:
        await ask_anew(app, numbers)
        return await stored(app) > before

    await until(is_stored)


async def until_failing(app: AppProcess, numbers: Iterator[int]) -> None:
    """Ask until results were lost, and go on until the disk was tried in vain some times more."""
    before = await errors(app)
    enough = math.inf

    async def has_failed() -> bool:
        nonlocal enough
        await ask_anew(app, numbers)
        if enough == math.inf and await errors(app) > before:
            enough = time.monotonic() + 4 * RETRY_SECONDS
        return time.monotonic() > enough

    await until(has_failed)


@pytest.fixture
def numbers() -> Iterator[int]:
    return iter(range(1, 10_000))


@pytest.mark.parametrize("way", WAYS)
async def test_a_cache_without_room_is_done_without(
    llm: LLMServer, root: Path, tmp_path: Path, numbers: Iterator[int], way: str
) -> None:
    with WAYS[way](tmp_path) as disk:
        async with running(
            llm, root, cache_directory=disk.folder, retry_seconds=RETRY_SECONDS
        ) as app:
            assert await app.says(call("cat", path="00.txt")) == TEXTS[:1]
            await app.counts("cache_entries_total", 1, cache_type="disk")
            disk.fill(app.pid)
            await until_failing(app, numbers)

            assert (app.logged(GOING_ON), app.logged(BACK)) == (1, 0)
            assert (await app.client.get("/ready")).status_code == 200

            disk.free(app.pid)
            lost = await errors(app)
            await until_stored(app, numbers)
            assert (app.logged(GOING_ON), app.logged(BACK)) == (1, 1)
        # What was there before, and what came after, another process finds.
        async with running(llm, root, cache_directory=disk.folder) as app:
            assert await app.says(call("cat", path="00.txt")) == TEXTS[:1]
            assert await app.hits() == 1
            assert app.logged("made anew") == 0
            assert lost > 0


async def test_a_cache_whose_folder_is_removed_begins_another(
    llm: LLMServer, root: Path, tmp_path: Path, numbers: Iterator[int]
) -> None:
    folder = tmp_path / "cache"
    async with contextlib.AsyncExitStack() as stack:
        starting = (
            stack.enter_async_context(running(llm, root, cache_directory=folder)) for _ in range(2)
        )
        app, other = await asyncio.gather(*starting)
        await ask_anew(app, numbers)
        await app.counts("cache_entries_total", FILES, cache_type="disk")

        shutil.rmtree(folder)

        await ask_anew(other, numbers)
        lines = await until_shared(app, other, numbers)
        assert (folder / FILE_NAME).exists()
        assert await errors(app) == await errors(other) == 0
        hits = await other.hits()
        assert (await app.client.delete("/api/cache")).status_code == 200
        assert await other.says(*first_lines(lines)) == TEXTS
        assert await other.hits() == hits


async def until_shared(app: AppProcess, other: AppProcess, numbers: Iterator[int]) -> int:
    """Ask one until the other knows the answers; answer what both know."""
    lines = 0

    async def is_known() -> bool:
        nonlocal lines
        lines = next(numbers)
        assert await app.says(*first_lines(lines)) == TEXTS
        hits = await other.hits()
        assert await other.says(*first_lines(lines)) == TEXTS
        return await other.hits() == hits + FILES

    await until(is_known)
    return lines


async def test_a_cache_on_a_read_only_disk_is_done_without(
    llm: LLMServer, root: Path, tmp_path: Path, numbers: Iterator[int]
) -> None:
    with unwritable(tmp_path) as make_writable:
        async with running(
            llm, root, cache_directory=tmp_path, retry_seconds=RETRY_SECONDS
        ) as app:
            await until_failing(app, numbers)
            assert (app.logged(GOING_ON), app.logged(BACK)) == (1, 0)

            make_writable()
            await until_stored(app, numbers)
            assert (app.logged(GOING_ON), app.logged(BACK)) == (1, 1)


def with_other_bytes(path: Path) -> None:
    path.write_bytes(b"this is no database " * 1000)


def with_no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def with_half_of_it(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def with_other_words_in_it(path: Path) -> None:
    """Change the remembered texts, and nothing that holds the database together."""
    data = path.read_bytes()
    for number in range(FILES):
        there, wrong = f"{number} {number} ".encode(), f"{number} x ".encode()
        assert there in data
        data = data.replace(there, wrong)
    path.write_bytes(data)


def with_wrong_bits_in_it(path: Path) -> None:
    """Change bits all over, but for the first page: without it, it is no database at all."""
    chance = random.Random(20261122)
    data = bytearray(path.read_bytes())
    for _ in range(300):
        data[chance.randrange(4096, len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def of_another_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 999")


def with_a_log_of_noise(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(random.Random(20261122).randbytes(100_000))


DAMAGES = [
    with_other_bytes,
    with_no_bytes,
    with_half_of_it,
    with_other_words_in_it,
    with_wrong_bits_in_it,
    of_another_version,
    with_a_log_of_noise,
]


@pytest.fixture(scope="module")
async def known(llm: LLMServer, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of a cache that knows all the texts."""
    folder = tmp_path_factory.mktemp("known")
    async with running(llm, root, cache_directory=folder) as app:
        assert await app.says(*first_lines(1)) == TEXTS
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_cache_file_that_is_damaged_tells_nothing_wrong(
    llm: LLMServer,
    root: Path,
    known: Path,
    tmp_path: Path,
    numbers: Iterator[int],
    damage: Callable[[Path], None],
) -> None:
    folder = tmp_path / "cache"
    shutil.copytree(known, folder)
    damage(folder / FILE_NAME)

    async with running(llm, root, cache_directory=folder, retry_seconds=RETRY_SECONDS) as app:
        assert await app.says(*first_lines(1)) == TEXTS
        assert await app.says(*first_lines(1)) == TEXTS
        await until_stored(app, numbers)


async def test_a_database_of_another_program_is_left_alone(
    llm: LLMServer, root: Path, tmp_path: Path, numbers: Iterator[int]
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as database:
        database.execute("CREATE TABLE results (question TEXT)")
    before = (tmp_path / FILE_NAME).read_bytes()

    async with running(llm, root, cache_directory=tmp_path, retry_seconds=RETRY_SECONDS) as app:
        await until_failing(app, numbers)
        assert (app.logged(GOING_ON), app.logged(BACK)) == (1, 0)

    assert (tmp_path / FILE_NAME).read_bytes() == before


async def test_a_cache_file_that_is_damaged_in_use_tells_nothing_wrong(
    llm: LLMServer, root: Path, known: Path, tmp_path: Path, numbers: Iterator[int]
) -> None:
    folder = tmp_path / "cache"
    shutil.copytree(known, folder)
    async with running(
        llm, root, cache_directory=folder, cache_memory_limit=0, retry_seconds=RETRY_SECONDS
    ) as app:
        assert await app.says(*first_lines(1)) == TEXTS
        assert await app.hits() == FILES

        with_other_bytes(folder / FILE_NAME)

        assert await app.says(*first_lines(1)) == TEXTS
        await until_stored(app, numbers)
        assert app.logged("made anew") == 1
