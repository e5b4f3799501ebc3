"""
The file of the second tier: an SQLite database that several processes read and write.

A file that is damaged is replaced by an empty one: a cache can be lost. A database of another
program is not, and there is no cache on disk then. All who share the file look at it under one
lock, so that nobody replaces the new one again. Releases that keep results in different ways have
files of their own, so that they can run side by side.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from target_app.cache.rows import SCHEMA, totals
from target_app.file_lock import lock_file

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
FILE_NAME = f"results-{SCHEMA_VERSION}.sqlite"
APPLICATION_ID = 0x66736163
"""What tells the file from databases of other programs."""

WRITER_WAITS_SECONDS = 5.0
READER_WAITS_SECONDS = 0.1

_LOCK_WAITS_SECONDS = 5.0
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""SQLITE_ERROR: a table is missing, or is not what it should be."""


class ForeignFileError(sqlite3.DatabaseError):
    """A database of another program, which is not ours to replace."""


class OtherVersionError(sqlite3.DatabaseError):
    """A cache, but not of the version that its name says."""


def open_database(folder: Path, *, damaged_inode: int | None = None) -> Database:
    """
    Open the database in a folder, for one writer and one reader; make what is missing.

    A file that is no good, or has `damaged_inode`, is replaced. Raises ForeignFileError for a
    database of another program, OSError and sqlite3.Error when the place is no good.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE_NAME
    with _locked(folder):
        if damaged_inode is not None and _inode(path) == damaged_inode:
            _replace(path, "it is damaged")
        try:
            return Database(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            _replace(path, str(error))
            return Database(path)


def is_damage(error: Exception) -> bool:
    """Whether an error says that the file is no good, and not that the disk is, or is full."""
    return (
        isinstance(error, OtherVersionError)
        or getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF in _DAMAGED
    )


class Database:
    """
    Two connections to one file: `writer` for one thread, `reader` for those that take turns.

    `inode` tells whether the file is still the one at its path.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises OSError and sqlite3.Error."""
        self._path = path
        # Made here, so that nobody else may read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        self.inode = _inode(path)
        self.writer = _connect(path, WRITER_WAITS_SECONDS)
        try:
            _prepare(self.writer)
            self.reader = _connect(path, READER_WAITS_SECONDS)
            try:
                self.reader.execute("PRAGMA query_only = ON")
                # Opens all its files now, while nobody replaces them.
                totals(self.reader)
            except BaseException:
                self.reader.close()
                raise
        except BaseException:
            self.writer.close()
            raise

    @property
    def is_in_place(self) -> bool:
        """Whether the file was neither removed nor replaced."""
        return _inode(self._path) == self.inode

    def close(self) -> None:
        """Close both connections."""
        self.reader.close()
        self.writer.close()


def _connect(path: Path, wait_seconds: float) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=wait_seconds, isolation_level=None, check_same_thread=False
    )


def _prepare(writer: sqlite3.Connection) -> None:
    """Check whose file it is and set it up. Raises sqlite3.Error when it is no good."""
    (application,) = writer.execute("PRAGMA application_id").fetchone()
    (version,) = writer.execute("PRAGMA user_version").fetchone()
    (tables,) = writer.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    is_new = tables == application == 0
    if not is_new and application != APPLICATION_ID:
        msg = f"{FILE_NAME} is a database of another program"
        raise ForeignFileError(msg)
    if is_new:
        # Only in this order: the first is fixed once there is a table or a log.
        writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
        writer.execute("PRAGMA journal_mode = WAL")
        writer.executescript(
            f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
            f" PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
    elif version != SCHEMA_VERSION:
        msg = "it is of another version"
        raise OtherVersionError(msg)
    writer.execute("PRAGMA journal_mode = WAL")
    # A kill loses nothing that was committed; a power cut may, and it is only a cache.
    writer.execute("PRAGMA synchronous = NORMAL")
    writer.execute("PRAGMA journal_size_limit = 16777216")


def _replace(path: Path, reason: str) -> None:
    logger.warning("the cache file %s is made anew: %s", path.name, reason)
    for suffix in ("-wal", "-shm", ""):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from opening or replacing the file. Raises TimeoutError when one takes long."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            lock_file(fd, _LOCK_WAITS_SECONDS)
        except TimeoutError:
            msg = "another process has locked the cache for too long"
            raise TimeoutError(msg) from None
        yield
    finally:
        os.close(fd)
