"""Another process that uses the cache: it asks, or writes without end, or on a full disk."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import resource
import signal
import sys
from pathlib import Path

from target_app.cache.disk import Disk, Shelf
from target_app.cache.memory import Memory
from target_app.cache.results import Made, ResultCache
from target_app.cache.rows import Row
from target_app.cache.state import State
from target_app.cache.tree import TreeStates
from target_app.sandbox.paths import DataRoot
from tests.target_app.cache.listening import TEXT, Heard

STATE = State(b"paths", b"contents", 1)
LIMIT_BYTES = 50_000_000


def value_of(number: int) -> bytes:
    """Make a value that tells whether it was written right, of up to 40 kB."""
    digest = hashlib.blake2b(b"%d" % number).digest()
    return digest * (1 + number * 37 % 640)


def put(shelf: Shelf, number: int) -> None:
    value = value_of(number)
    row = Row(STATE.structure, STATE.contents, 0.1, 1, shelf.generation.now())
    shelf.put(str(number), row, lambda: value, len(value))


def kept(shelf: Shelf, number: int) -> bytes | None:
    row = shelf.get(str(number), STATE)
    return None if row is None else row.value


class Asker:
    """Asks what a folder's files say, as one worker of the app would."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self.disk = Disk(folder, LIMIT_BYTES)
        self._states = TreeStates(DataRoot(root), max_age_seconds=0)
        self.cache = ResultCache(
            "search",
            Memory[str](LIMIT_BYTES),
            self.disk,
            TEXT,
            listener=Heard(),
            wall_clock_ns=lambda: 1 << 62,
        )

    async def ask(self) -> tuple[str, bool]:
        state = self._states.take(".", deep=True)
        assert state is not None

        async def make() -> Made[str]:
            read = "".join(path.read_text() for path in sorted(self._root.iterdir()))
            return Made(read, keep=True, seconds=0.1, size_bytes=len(read))

        answered = await self.cache.answer("q", state, make)
        await asyncio.to_thread(self.disk.flush)
        return answered.value, answered.hit

    def close(self) -> None:
        self.disk.close()
        self._states.close()


def answer_questions(root: Path, folder: Path) -> None:
    """Do what each line of input says, and print what came of it."""
    asker = Asker(root, folder)
    for line in sys.stdin:
        done = asker.cache.clear() if line == "clear\n" else asyncio.run(asker.ask())
        print(json.dumps(done), flush=True)
    asker.close()


def write_without_end(folder: Path) -> None:
    """Write until killed, and say when the first are written."""
    disk = Disk(folder, LIMIT_BYTES)
    shelf = disk.shelf("search", Heard())
    for number in itertools.count():
        put(shelf, number % 500)
        if number % 20 == 19:
            disk.flush()
            print(number, flush=True)


def write_on_a_full_disk(folder: Path) -> None:
    """Write more than files may hold, then be allowed to; print what came of both."""
    heard = Heard()
    disk = Disk(folder, LIMIT_BYTES, retry_seconds=0.0)
    shelf = disk.shelf("search", heard)
    put(shelf, 0)
    disk.flush()
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    for number in range(100):
        put(shelf, number)
        disk.flush()
    lost = heard.sets["error"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    put(shelf, 1000)
    disk.flush()
    numbers = [number for number in (*range(100), 1000) if kept(shelf, number) is not None]
    right = all(kept(shelf, number) == value_of(number) for number in numbers)
    disk.close()
    print(json.dumps({"lost": lost, "kept": len(numbers), "right": right, "last": numbers[-1:]}))


if __name__ == "__main__":
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    mode, *paths = sys.argv[1:]
    modes = {"ask": answer_questions, "write": write_without_end, "full": write_on_a_full_disk}
    modes[mode](*map(Path, paths))
