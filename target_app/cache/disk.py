"""
The second tier: results in one file, shared by all processes and kept over a restart.

Nothing here raises into the app. What is to be written waits in a bounded queue for one thread,
which writes it in batches; when the disk is full, read-only or gone, results are dropped and
counted, and the disk is tried again later. What is read is checked: a value comes back as it was
put, or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from target_app.cache.database import Database, is_damage, open_database
from target_app.cache.generation import Generation
from target_app.cache.rows import (
    ROW_OVERHEAD_BYTES,
    DamagedRowError,
    Row,
    clear_rows,
    drop_row,
    evict_rows,
    read_row,
    totals,
    touch_row,
    write_row,
)
from target_app.cache.state import State

logger = logging.getLogger(__name__)

PENDING_LIMIT_BYTES = 32 * 1024 * 1024
"""Values that wait to be written; what comes when there are more is dropped."""

PENDING_LIMIT = 10_000
"""Things that wait to be written, of whatever size."""

RETRY_SECONDS = 10.0
"""How long a disk that failed is left alone."""

_REFRESH_SECONDS = 30.0
_BATCH = 256


class DiskListener(Protocol):
    """Hears what becomes of the entries of one shelf, from the thread that writes."""

    def stored(self, result: Literal["hit", "miss", "error"], seconds: float) -> None:
        """One result was lost: an error."""
        ...

    def evicted(self, tier: str, count: int) -> None:
        """Entries made room for others."""
        ...


class DiskError(Exception):
    """What is on disk cannot be told; the message is one word: file or value."""


@dataclass(frozen=True, slots=True)
class _Put:
    shelf: Shelf
    question: bytes
    row: Row
    encode: Callable[[], bytes]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Drop:
    question: bytes


@dataclass(frozen=True, slots=True)
class _Clear:
    shelf: Shelf


_Task = _Put | _Drop | _Clear


class Shelf:
    """The results of one cache on a disk. Any thread may use it."""

    def __init__(self, disk: Disk, name: str, listener: DiskListener) -> None:
        """To be made by `Disk.shelf`."""
        self.name = name
        self.listener = listener
        self.generation = Generation()
        self._disk = disk

    def get(self, question: str, state: State) -> Row | None:
        """Read what is kept. Blocks. Raises DiskError when it cannot be told."""
        return self._disk.read(self._key(question), state)

    def put(self, question: str, row: Row, encode: Callable[[], bytes], size_bytes: int) -> bool:
        """
        Have a result written soon; answer False when it is too large.

        `encode` makes the value's bytes, about `size_bytes`, in another thread.
        """
        return self._disk.write(_Put(self, self._key(question), row, encode, size_bytes))

    def drop(self, question: str) -> None:
        """Have a row removed that is true no more."""
        self._disk.write(_Drop(self._key(question)))

    def touch(self, question: str) -> None:
        """Have a row counted as used, when something is written the next time."""
        self._disk.touch(self._key(question))

    def clear(self) -> int:
        """Make all rows untrue at once and have them removed; answer how many there were."""
        count = self._disk.entries(self.name)
        try:
            self.generation.advance()
        except OSError as error:
            logger.warning("other processes may keep what was cleared: %s", error.strerror)
        self._disk.write(_Clear(self))
        return count

    def _key(self, question: str) -> bytes:
        text = f"{self.name}\0{question}".encode(errors="surrogatepass")
        return hashlib.blake2b(text, digest_size=32).digest()


class Disk:
    """
    A file of results, in a folder that the operator gave to this app alone.

    Opening and closing block; so does `flush`. A limit of 0 bytes would hold nothing: have no
    disk then.
    """

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        *,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the file, or go on without until it can be opened."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._database: Database | None = None
        self._reading = threading.Lock()
        self._changed = threading.Condition()
        self._tasks: deque[_Task] = deque()
        self._touched: set[bytes] = set()
        self._pending_bytes = 0
        self._is_writing = False
        self._is_closing = False
        self._is_failing = False
        self._is_damaged = False
        self._retry_at = 0.0
        self._replaced_at = float("-inf")
        self._shelves: list[Shelf] = []
        self._totals: dict[str, tuple[int, int]] = {}
        self._write([])
        self._thread = threading.Thread(target=self._work, name="cache-writer", daemon=True)
        self._thread.start()

    @property
    def is_usable(self) -> bool:
        """Whether the file can be used; if not, it is tried again now and then."""
        return self._database is not None

    @property
    def size_bytes(self) -> int:
        """Bytes in the file, as far as they are known here."""
        return sum(size for _, size in self._totals.values())

    @property
    def usage_bytes(self) -> int:
        """Bytes of all files in the folder, those that SQLite adds among them. Blocks."""
        return sum(path.lstat().st_size for path in self._folder.iterdir())

    def __len__(self) -> int:
        """Results in the file, as far as they are known here."""
        return sum(entries for entries, _ in self._totals.values())

    def entries(self, name: str) -> int:
        """Results on one shelf, as far as they are known here."""
        return self._totals.get(name, (0, 0))[0]

    def shelf(self, name: str, listener: DiskListener) -> Shelf:
        """Make the place of one cache, to be done once for each."""
        shelf = Shelf(self, name, listener)
        self._shelves.append(shelf)
        if self._database is not None:
            self._share(shelf)
        return shelf

    def read(self, question: bytes, state: State) -> Row | None:
        """Read a row. Raises DiskError."""
        with self._reading:
            if self._database is None:
                return None
            try:
                return read_row(self._database.reader, question, state)
            except sqlite3.Error as error:
                self._suspect(error)
                msg = "file"
            except DamagedRowError:
                self.write(_Drop(question))
                msg = "value"
        raise DiskError(msg)

    def write(self, task: _Task) -> bool:
        """Have something written soon; False for a result that is too large."""
        size = task.size_bytes if isinstance(task, _Put) else 0
        if size + ROW_OVERHEAD_BYTES > self._limit_bytes:
            return False
        with self._changed:
            accepted = (
                not self._is_closing
                and self._clock() >= self._retry_at
                and self._pending_bytes + size <= PENDING_LIMIT_BYTES
                and len(self._tasks) < PENDING_LIMIT
            )
            if accepted:
                self._tasks.append(task)
                self._pending_bytes += size
                self._changed.notify_all()
        if not accepted:
            _lose([task])
        return True

    def touch(self, question: bytes) -> None:
        """Have a row counted as used. It is not worth a transaction of its own."""
        with self._changed:
            if len(self._touched) < PENDING_LIMIT:
                self._touched.add(question)

    def flush(self, timeout_seconds: float = 10.0) -> bool:
        """Wait until all that was to be written is, or was dropped; False when it takes long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._tasks and not self._is_writing, timeout_seconds
            )

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()
        for shelf in self._shelves:
            shelf.generation.close()

    def _work(self) -> None:
        """Write what comes, until the end. The thread's function."""
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, self._wait_seconds())
                batch = [self._tasks.popleft() for _ in range(min(_BATCH, len(self._tasks)))]
                if self._is_closing and not batch:
                    break
                self._is_writing = True
            self._write(batch)
            with self._changed:
                self._is_writing = False
                self._pending_bytes -= sum(
                    task.size_bytes for task in batch if isinstance(task, _Put)
                )
                self._changed.notify_all()
        if self._touched:
            self._write([])
        self._put_in_place(None)

    def _has_work(self) -> bool:
        damaged = self._is_damaged and self._clock() >= self._retry_at
        return bool(self._tasks) or self._is_closing or damaged

    def _wait_seconds(self) -> float:
        if self._database is None:
            return max(0.0, min(self._retry_at - self._clock(), _REFRESH_SECONDS))
        return _REFRESH_SECONDS

    def _write(self, batch: list[_Task]) -> None:
        """Write a batch, or lose it."""
        if self._clock() < self._retry_at:
            _lose(batch)
            return
        try:
            database = self._ready()
            if batch or self._touched:
                self._apply(database.writer, batch)
            self._totals = totals(database.writer)
        except (OSError, sqlite3.Error) as error:
            _lose(batch)
            self._fail(error)
            return
        if batch and self._is_failing:
            logger.info("the cache on disk works again")
            self._is_failing = False

    def _ready(self) -> Database:
        """Answer the database, opened anew if need be. Raises OSError and sqlite3.Error."""
        database = self._database
        if database is not None and not self._is_damaged and database.is_in_place:
            return database
        damaged_inode = None
        if database is not None and self._is_damaged:
            damaged_inode = database.inode
        self._is_damaged = False
        self._put_in_place(None)
        database = open_database(self._folder, damaged_inode=damaged_inode)
        self._put_in_place(database)
        for shelf in self._shelves:
            self._share(shelf)
        return database

    def _put_in_place(self, database: Database | None) -> None:
        with self._reading:
            if self._database is not None:
                self._database.close()
            self._database = database

    def _share(self, shelf: Shelf) -> None:
        try:
            shelf.generation.share(self._folder / f"{shelf.name}.generation")
        except OSError as error:
            logger.warning("other processes may keep what is cleared here: %s", error.strerror)

    def _suspect(self, error: sqlite3.Error) -> None:
        """Have a file replaced that is damaged, but not over and over."""
        now = self._clock()
        if is_damage(error) and now - self._replaced_at > self._retry_seconds:
            self._replaced_at = now
            self._is_damaged = True
            with self._changed:
                self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        """Leave the disk alone for a while, unless it helps to replace the file."""
        if isinstance(error, sqlite3.Error):
            self._suspect(error)
        if self._is_damaged:
            return
        if not self._is_failing:
            logger.warning("going on without the cache on disk: %s", error)
        self._is_failing = True
        self._retry_at = self._clock() + self._retry_seconds
        self._put_in_place(None)

    def _apply(self, writer: sqlite3.Connection, batch: Sequence[_Task]) -> None:
        """Write a batch in one transaction. Raises sqlite3.Error."""
        values = _encoded(batch)
        with self._changed:
            touched, self._touched = self._touched, set()
        writer.execute("BEGIN IMMEDIATE")
        try:
            for question in touched:
                touch_row(writer, question)
            for task in batch:
                if isinstance(task, _Drop):
                    drop_row(writer, task.question)
            for put, value in values:
                write_row(writer, put.shelf.name, put.question, put.row, value)
            evicted = evict_rows(writer, self._limit_bytes)
            writer.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                writer.execute("ROLLBACK")
            raise
        for shelf in self._shelves:
            if evicted[shelf.name]:
                shelf.listener.evicted("disk", evicted[shelf.name])
        for shelf in {task.shelf for task in batch if isinstance(task, _Clear)}:
            clear_rows(writer, shelf.name, shelf.generation.now())


def _encoded(batch: Sequence[_Task]) -> list[tuple[_Put, bytes]]:
    values = []
    for task in batch:
        if isinstance(task, _Put):
            try:
                values.append((task, task.encode()))
            except ValueError:
                # Text that no bytes stand for.
                _lose([task])
    return values


def _lose(tasks: Sequence[_Task]) -> None:
    for task in tasks:
        if isinstance(task, _Put):
            task.shelf.listener.stored("error", 0.0)
