"""Removing what writers that were killed have left among the documents."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

from target_app.sandbox.paths import (
    MAX_DEPTH,
    UNFINISHED,
    DataRoot,
    PathBlockedError,
    PathRefusedError,
)

logger = logging.getLogger(__name__)

ABANDONED_SECONDS = 3600.0
"""A draft that was not written to for so long has no writer any more, in whatever process."""

MAX_LOOKED_AT = 200_000
"""Entries looked at. Where there are more, some leftovers stay, which take room only."""


@contextlib.asynccontextmanager
async def leftovers_removed(root: DataRoot) -> AsyncIterator[None]:
    """Look for leftovers once, in a thread, while the block goes on; its end stops the search."""
    ended = threading.Event()
    searching = asyncio.ensure_future(asyncio.to_thread(_search, root, ended.is_set))
    try:
        yield
    finally:
        ended.set()
        await searching


def remove_leftovers(
    root: DataRoot, before: float, is_enough: Callable[[], bool] = lambda: False
) -> int:
    """
    Remove drafts last written `before`, in seconds since 1970, and answer how many.

    Blocks. Folders that cannot be read and drafts that cannot be removed are passed over. Goes
    no further than MAX_LOOKED_AT entries, or until it `is_enough`.
    """
    removed = looked_at = 0
    folders = [(".", 1)]
    while folders:
        path, depth = folders.pop()
        with contextlib.suppress(OSError, PathBlockedError, PathRefusedError):
            for entry, folder_fd in _entries(root, path):
                looked_at += 1
                if looked_at > MAX_LOOKED_AT or is_enough():
                    return removed
                if entry.name.startswith(UNFINISHED):
                    removed += _remove(entry, folder_fd, before)
                elif depth < MAX_DEPTH and entry.is_dir(follow_symlinks=False):
                    folders.append((f"{path}/{entry.name}", depth + 1))
    return removed


def _search(root: DataRoot, is_enough: Callable[[], bool]) -> None:
    removed = remove_leftovers(root, time.time() - ABANDONED_SECONDS, is_enough)
    if removed:
        logger.info("removed %d documents whose writing was never finished", removed)


def _entries(root: DataRoot, path: str) -> Iterator[tuple[os.DirEntry[str], int]]:
    folder_fd = root.open_folder(path)
    try:
        with os.scandir(folder_fd) as listing:
            for entry in listing:
                yield entry, folder_fd
    finally:
        os.close(folder_fd)


def _remove(entry: os.DirEntry[str], folder_fd: int, before: float) -> bool:
    """Remove a draft unless it is young; what a draft never is, such as a folder, stays."""
    with contextlib.suppress(OSError):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_mtime < before:
            os.unlink(entry.name, dir_fd=folder_fd)
            return True
    return False
