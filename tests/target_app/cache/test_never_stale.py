"""After thousands of random changes, no answer was ever out of date."""

# The truth is read ten thousand times, and pathlib takes twice as long.
# ruff: noqa: PTH112, PTH113, PTH114, PTH115, PTH118, PTH123

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from target_app.cache.disk import Disk
from target_app.cache.memory import Memory
from target_app.cache.results import Made, ResultCache
from target_app.cache.state import State, file_state
from target_app.cache.tree import TreeStates
from target_app.sandbox.paths import DataRoot, PathBlockedError, PathRefusedError
from tests.target_app.cache.listening import TEXT, Heard

pytestmark = pytest.mark.anyio

HOUR_NS = 3_600_000_000_000
NAMES = ["alpha", "beta", "gamma", "delta"]
SCOPES = [
    *((".", kind) for kind in ("tree", "listing")),
    *((name, kind) for name in NAMES for kind in ("tree", "listing", "file")),
    *((f"{name}/{inner}", kind) for name in NAMES for inner in NAMES for kind in ("tree", "file")),
]


class Files:
    """A small tree in which anything may happen next."""

    def __init__(self, root: Path, outside: Path, seed: int) -> None:
        self.root = root
        self.outside = outside
        self.random = random.Random(seed)
        self._changed_ns = 0

    def any_path(self) -> Path:
        return self.root.joinpath(*self.random.choices(NAMES, k=self.random.randint(1, 4)))

    def any_there(self, *, only: Callable[[str], bool] = os.path.lexists) -> Path:
        """Choose something that is there. Raises FileNotFoundError when there is nothing."""
        there = [path for path in everything(str(self.root)) if only(path)]
        if not there:
            raise FileNotFoundError
        return Path(self.random.choice(sorted(there)))

    def change(self) -> None:
        """Do one thing; some cannot be done where it was tried, which is no harm."""
        self._wait_for_tick()
        act = self.random.choice(
            [
                self.create,
                self.create,
                self.create,
                self.delete,
                self.rename,
                self.rename_folder,
                self.edit,
                self.edit_in_disguise,
                self.edit_in_disguise,
                self.change_mode,
                self.link,
                self.nest,
                self.swap_with_link,
                self.replace,
                self.remove_tree,
                self.name_twice,
                self.write_by_other_name,
            ]
        )
        with contextlib.suppress(OSError):
            act()

    def _wait_for_tick(self) -> None:
        """
        Wait until the file system's clock has moved on.

        Two changes within a tick can carry the same times. The cache waits 20 ms before it trusts
        a time; here it is told that it is an hour later.
        """
        probe = self.outside / "probe"
        last_ns = self._changed_ns
        while self._changed_ns == last_ns:
            probe.write_text("")
            os.utime(probe)
            self._changed_ns = probe.stat().st_ctime_ns

    def create(self) -> None:
        path = self.any_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{self.random.random():.12f}")

    def delete(self) -> None:
        path = self.any_there()
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def rename(self) -> None:
        self.any_there().rename(self.any_path())

    def rename_folder(self) -> None:
        self.any_there(only=os.path.isdir).rename(self.any_path())

    def edit(self) -> None:
        with self.any_there(only=os.path.isfile).open("a") as opened:
            opened.write("more")

    def edit_in_disguise(self) -> None:
        path = self.any_there(only=os.path.isfile)
        before = path.stat()
        with path.open("r+") as opened:
            opened.write(self.random.choice("0123456789"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def change_mode(self) -> None:
        path = self.any_there(only=lambda path: not os.path.islink(path))
        path.chmod(self.random.choice([0o700, 0o750, 0o755]))

    def link(self) -> None:
        self.any_path().symlink_to(self.random.choice(["alpha", "../beta", str(self.outside)]))

    def nest(self) -> None:
        self.any_path().joinpath(*self.random.choices(NAMES, k=3)).mkdir(parents=True)

    def swap_with_link(self) -> None:
        path = self.any_there()
        aside = self.outside / f"aside {self.random.random()}"
        path.rename(aside)
        path.symlink_to(aside)

    def replace(self) -> None:
        new = self.outside / "new"
        new.write_text(f"{self.random.random():.12f}")
        new.replace(self.any_path())

    def remove_tree(self) -> None:
        if self.random.random() < 0.3:
            shutil.rmtree(self.any_path())

    def name_twice(self) -> None:
        path = self.any_there(only=os.path.isfile)
        (self.outside / "other name").unlink(missing_ok=True)
        (self.outside / "other name").hardlink_to(path)
        # Made from outside, which no watch sees: what was linked is looked at once more.
        path.chmod(0o711)

    def write_by_other_name(self) -> None:
        with (self.outside / "other name").open("r+") as opened:
            opened.write(self.random.choice("0123456789"))


def everything(root: str) -> list[str]:
    """List what is beneath a folder, links not followed."""
    return [
        os.path.join(folder, name)
        for folder, folders, others in os.walk(root)
        for name in (*folders, *others)
    ]


def truth(root: Path, scope: tuple[str, str]) -> str:
    """Read anew what a question is about: a file, a listing with its times, or a whole tree."""
    path, kind = scope
    place = str(root)
    for name in path.split("/"):
        place = os.path.join(place, name)
        if os.path.islink(place):
            return "a link"
    if kind == "file":
        return contents(place) if os.path.isfile(place) else f"folder: {os.path.isdir(place)}"
    if not os.path.isdir(place):
        return "no folder"
    if kind == "listing":
        with os.scandir(place) as listing:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in listing]
        return repr(sorted((name, s.st_mode, s.st_size, s.st_mtime_ns) for name, s in found))
    return repr(
        sorted((inner, contents(inner), os.lstat(inner).st_mode) for inner in everything(place))
    )


def contents(path: str) -> str:
    if os.path.islink(path):
        return os.readlink(path)
    if os.path.isdir(path):
        return ""
    with open(path) as opened:
        return opened.read()


class Asker:
    """Asks as the app does: the state, the cache, the run, and the state once more."""

    def __init__(self, root: Path, states: TreeStates, cache: ResultCache[str]) -> None:
        self._root = DataRoot(root)
        self._states = states
        self._cache = cache

    async def ask(self, scope: tuple[str, str]) -> str:
        state = self.state(scope)
        question = repr(scope)
        if state is None:
            return truth(self._root.path, scope)

        async def make() -> Made[str]:
            value = truth(self._root.path, scope)
            return Made(value, self.state(scope) == state, 0.001, len(value))

        return (await self._cache.answer(question, state, make)).value

    def state(self, scope: tuple[str, str]) -> State | None:
        path, kind = scope
        try:
            with self._root.open(path) as opened:
                if kind == "file" or not opened.is_directory:
                    return file_state(opened)
        except (PathBlockedError, PathRefusedError):
            return None
        deep = kind == "tree"
        return self._states.peek(path, deep=deep) or self._states.take(path, deep=deep)


def watching(files: Files, *, inotify: bool = True) -> contextlib.closing[TreeStates]:
    return contextlib.closing(TreeStates(DataRoot(files.root), max_age_seconds=0, inotify=inotify))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for folder in ("root", "outside"):
        (tmp_path / folder).mkdir()
    return Files(tmp_path / "root", tmp_path / "outside", seed=20_260_115)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    opened = Disk(tmp_path / "cache", 10_000_000)
    yield opened
    opened.close()


async def stale_answers(
    files: Files, states: TreeStates, disk: Disk | None, *, changes: int, memory_bytes: int
) -> tuple[list[object], Heard]:
    """Change something, ask three questions, and so on; name those that were answered wrongly."""
    heard = Heard()
    cache = ResultCache(
        "search",
        Memory(memory_bytes),
        disk,
        TEXT,
        listener=heard,
        wall_clock_ns=lambda: time.time_ns() + HOUR_NS,
    )
    asker = Asker(files.root, states, cache)
    stale: list[object] = []
    for number in range(changes):
        files.change()
        for scope in files.random.choices(SCOPES, k=3):
            if await asker.ask(scope) != truth(files.root, scope):
                stale += [(number, scope)]
    return stale, heard


async def test_no_answer_is_stale_after_four_thousand_changes(files: Files) -> None:
    with watching(files) as states:
        stale, heard = await stale_answers(
            files, states, None, changes=4000, memory_bytes=1_000_000
        )
        still_exact = states.exact

    assert (stale, still_exact) == ([], True)
    assert heard.gets["hit", "memory"] > 4000


async def test_no_answer_from_disk_is_stale(files: Files, disk: Disk) -> None:
    with watching(files) as states:
        stale, heard = await stale_answers(files, states, disk, changes=500, memory_bytes=0)

    assert stale == []
    assert heard.gets["hit", "disk"] > 300


async def test_no_answer_is_stale_where_folders_are_walked(files: Files) -> None:
    with watching(files, inotify=False) as states:
        stale, heard = await stale_answers(
            files, states, None, changes=500, memory_bytes=1_000_000
        )

    assert stale == []
    assert heard.gets["hit", "memory"] > 400


async def test_after_changes_during_the_looks_the_answer_is_true_again(files: Files) -> None:
    done = asyncio.Event()

    def change_on() -> None:
        for _ in range(500):
            files.change()

    async def change() -> None:
        await asyncio.to_thread(change_on)
        done.set()

    with watching(files) as states:
        cache = ResultCache("search", Memory[str](1_000_000), None, TEXT, listener=Heard())
        asker = Asker(files.root, states, cache)
        changing = asyncio.create_task(change())
        while not done.is_set():
            # What was listed may be gone when it is read.
            with contextlib.suppress(OSError):
                await asker.ask((".", "tree"))
            await asyncio.sleep(0)
        await changing

        assert await asker.ask((".", "tree")) == truth(files.root, (".", "tree"))
        assert states.exact
