"""
Path confinement: every path a tool names is opened beneath the data root, or refused.

A path is walked component by component from a descriptor of the root, never following a
symbolic link, and the tool then reads from the descriptor it was given. So what was
authorised is what is read: nothing can be swapped in between.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

MAX_DEPTH = 64
"""Folders nested deeper than this are not descended into."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Non-blocking, so that opening a pipe somebody left in the folder cannot hang a tool."""


class PathBlockedError(Exception):
    """A path would leave the data root."""


class PathRefusedError(Exception):
    """A path stays inside the data root but is nothing a tool reads: a link, a pipe, a device."""


@dataclass(frozen=True, slots=True)
class Opened:
    """
    A path that was authorised, and its descriptor.

    `path` is relative to the data root, "." for the root itself. `fd` is None when nothing is
    there. To be used as a context manager, which closes the descriptor.
    """

    path: str
    fd: int | None
    status: os.stat_result | None

    @property
    def is_directory(self) -> bool:
        """Whether a folder was found at the path."""
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    def __enter__(self) -> Self:
        """Hand out the opened path."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the descriptor."""
        if self.fd is not None:
            os.close(self.fd)


class DataRoot:
    """The one folder whose files the tools may read."""

    def __init__(self, path: Path) -> None:
        """Take the folder at `path`, following links in the operator's own path to it."""
        self._path = path.resolve(strict=True)

    def is_there(self) -> bool:
        """Whether the folder still exists."""
        return self._path.is_dir()

    def open(self, path: str) -> Opened:
        """
        Authorise and open a path.

        Raises PathBlockedError when it would leave the root, PathRefusedError when it is
        neither a file nor a folder, OSError when the system refuses.
        """
        parts = _components(path)
        shown = "/".join(parts) or "."
        fd = os.open(self._path, _FLAGS | os.O_DIRECTORY)
        for depth, part in enumerate(parts):
            try:
                inner = os.open(part, _FLAGS, dir_fd=fd)
            except OSError as error:
                if error.errno == errno.ELOOP:
                    self._refuse_link(parts[: depth + 1])
                if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG}:
                    return Opened(shown, None, None)
                if error.errno == errno.ENXIO:
                    raise PathRefusedError(_neither(shown)) from None
                raise
            finally:
                os.close(fd)
            fd = inner
        status = os.fstat(fd)
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            os.close(fd)
            raise PathRefusedError(_neither(shown))
        return Opened(shown, fd, status)

    def _refuse_link(self, parts: tuple[str, ...]) -> None:
        """Tell a link that leads out, which is an attack, from one that stays inside."""
        shown = "/".join(parts)
        target = Path(os.path.realpath(self._path.joinpath(*parts)))
        if target.is_relative_to(self._path):
            msg = f"{shown} is a symbolic link; links are not followed"
            raise PathRefusedError(msg)
        msg = f"{shown} leads outside the data root"
        raise PathBlockedError(msg)


def _components(path: str) -> tuple[str, ...]:
    """Split a relative path, refusing whatever could climb out of the root."""
    if "\0" in path:
        msg = "a path cannot contain a NUL character"
        raise PathBlockedError(msg)
    if path.startswith("/"):
        msg = "absolute paths are not allowed; paths are relative to the data root"
        raise PathBlockedError(msg)
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if ".." in parts:
        msg = "'..' is not allowed in a path"
        raise PathBlockedError(msg)
    return parts


def _neither(shown: str) -> str:
    return f"{shown} is neither a file nor a folder"


class Found(NamedTuple):
    """One entry met on a walk: its path, the directory entry and its folder's descriptor."""

    path: str
    entry: os.DirEntry[str]
    folder_fd: int


def walk(fd: int, path: str, *, depth: int = MAX_DEPTH) -> Iterator[Found]:
    """
    Yield everything beneath a folder in sorted order, a folder before what it holds.

    Links are yielded but never followed, and a folder that vanishes on the way is passed over.
    `folder_fd` is open only until the next step of the iteration.
    """
    with os.scandir(fd) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    prefix = "" if path == "." else f"{path}/"
    for entry in entries:
        found = Found(prefix + entry.name, entry, fd)
        yield found
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            inner = open_beneath(found, os.O_DIRECTORY)
            if inner is not None:
                try:
                    yield from walk(inner, found.path, depth=depth - 1)
                finally:
                    os.close(inner)


def open_beneath(found: Found, flags: int = 0) -> int | None:
    """Open an entry met on a walk, or answer None if it is gone or has become a link."""
    with contextlib.suppress(OSError):
        return os.open(found.entry.name, _FLAGS | flags, dir_fd=found.folder_fd)
    return None
