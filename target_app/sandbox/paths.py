"""
Path confinement: every path a tool names is opened beneath the data root, or refused.

Nothing is followed on the way, neither a symbolic link nor "..", and the tool then reads from
the descriptor it was given. So what was authorised is what is read: nothing can be swapped in
between. Where the kernel has openat2 it resolves the whole path in one call; elsewhere the path
is walked component by component, with the same answers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from target_app.sandbox import openat2

MAX_DEPTH = 64
"""Folders nested deeper than this are not descended into."""

MAX_ENTRIES = 100_000
"""A walk holds at most this many directory entries in memory; what is beyond is left out."""

UNFINISHED = ".unfinished-"
"""Files being written have names that begin so. A walk passes them over, whole or left behind."""

MAX_PATH_BYTES = 4095
"""The longest path the kernel takes in one call."""

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
"""Non-blocking, so that opening a pipe somebody left in the folder cannot hang a tool."""

_FOLDER = _FLAGS | os.O_DIRECTORY

_PASSING = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)
"""For a folder on the way, which needs to be entered, not to be listed."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


class PathBlockedError(Exception):
    """A path would leave the data root."""


class PathRefusedError(Exception):
    """A path stays inside the data root but is nothing a tool reads: a link, a pipe, a device."""


class RootGoneError(OSError):
    """The data root itself is not there at the moment."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, "the folder of documents is gone")


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
    def stamp(self) -> str:
        """What was found at the path, as `stamp` writes it, or "absent"."""
        return "absent" if self.status is None else stamp(self.status)

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


def stamp(status: os.stat_result) -> str:
    """Write down what tells two versions of one file or folder apart, without its name."""
    return (
        f"{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_size}"
        f".{status.st_ino}.{status.st_mode}"
    )


class _Anchor:
    """
    A descriptor of the root, closed when nobody uses it any more.

    While it is open the system gives the inode to no other folder, so a root that was removed
    and made again is certain to differ in its identity.
    """

    __slots__ = ("fd", "identity")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, _FOLDER)
        status = os.fstat(self.fd)
        self.identity = (status.st_dev, status.st_ino)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Not there when the constructor could not open the folder.
        if hasattr(self, "fd"):
            close(self.fd)


class DataRoot:
    """
    The one folder whose files the tools may read. May be used by several threads.

    Should the folder be removed, every call raises RootGoneError until one is there again.
    """

    def __init__(self, path: Path, *, use_openat2: bool | None = None) -> None:
        """
        Take the folder at `path`, following links in the operator's own path to it.

        `use_openat2` None means wherever the kernel has it.
        """
        self.path = path.resolve(strict=True)
        self._text = os.fspath(self.path)
        self._openat2 = openat2.is_available() if use_openat2 is None else use_openat2
        self._anchor = _Anchor(self._text)

    def is_there(self) -> bool:
        """Whether the folder still exists."""
        try:
            self._now()
        except OSError:
            return False
        return True

    def identity(self) -> tuple[int, int]:
        """Device and inode of the folder that is there now. Raises RootGoneError."""
        return self._now().identity

    def open(self, path: str) -> Opened:
        """
        Authorise and open a path.

        Raises PathBlockedError when it would leave the root, PathRefusedError when it is
        neither a file nor a folder, OSError when the system refuses.
        """
        parts = components(path)
        shown = "/".join(parts) or "."
        anchor = self._now()
        fd = self._descend(anchor, parts, shown, _FLAGS)
        if fd is None:
            return Opened(shown, None, None)
        status = os.fstat(fd)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            os.close(fd)
            raise PathRefusedError(_neither(shown))
        return Opened(shown, fd, status)

    def open_folder(self, path: str, *, make: bool = False) -> int:
        """
        Open a folder to write into, and answer its descriptor, which the caller closes.

        With `make`, folders that are missing on the way are made. Raises what `open` raises,
        FileNotFoundError when there is no such folder, NotADirectoryError when a file is there.
        """
        parts = components(path)
        shown = "/".join(parts) or "."
        anchor = self._now()
        fd = self._descend(anchor, parts, shown, _FOLDER)
        if fd is not None:
            return fd
        if make:
            return self._make(anchor, parts)
        with self.open(path) as opened:
            code = errno.ENOENT if opened.fd is None else errno.ENOTDIR
        raise OSError(code, os.strerror(code), shown)

    def _now(self) -> _Anchor:
        """Answer the anchor of the folder that is at the path now."""
        anchor = self._anchor
        try:
            status = os.lstat(self._text)
            if (status.st_dev, status.st_ino) != anchor.identity:
                anchor = self._anchor = _Anchor(self._text)
        except OSError:
            raise RootGoneError from None
        return anchor

    def _descend(
        self, anchor: _Anchor, parts: Sequence[str], shown: str, flags: int
    ) -> int | None:
        """Open what is at a path; None when nothing of that kind is there."""
        if self._openat2:
            try:
                return openat2.open_beneath_folder(anchor.fd, shown.encode(), flags)
            except FileNotFoundError:
                return None
            except OSError:
                # The walk finds out which component it was, and says the same on every system.
                pass
        return self._walk_to(anchor, parts, flags)

    def _walk_to(self, anchor: _Anchor, parts: Sequence[str], flags: int) -> int | None:
        if not parts:
            return os.open(".", flags, dir_fd=anchor.fd)
        folder = os.dup(anchor.fd)
        for depth, part in enumerate(parts, start=1):
            try:
                inner = os.open(part, flags if depth == len(parts) else _PASSING, dir_fd=folder)
            except OSError as error:
                if _met_link(error, part, folder):
                    self._refuse_link(parts[:depth])
                if error.errno in _ABSENT:
                    return None
                if error.errno in {errno.ENXIO, errno.ENODEV}:
                    raise PathRefusedError(_neither("/".join(parts))) from None
                raise
            finally:
                os.close(folder)
            folder = inner
        return folder

    def _make(self, anchor: _Anchor, parts: Sequence[str]) -> int:
        folder = os.dup(anchor.fd)
        for depth, part in enumerate(parts, start=1):
            try:
                # Somebody else may make it at the same time.
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
                inner = os.open(part, _FOLDER, dir_fd=folder)
            except OSError as error:
                if _met_link(error, part, folder):
                    self._refuse_link(parts[:depth])
                raise
            finally:
                os.close(folder)
            folder = inner
        return folder

    def _refuse_link(self, parts: Sequence[str]) -> None:
        """Tell a link that leads out, which is an attack, from one that stays inside."""
        shown = "/".join(parts)
        try:
            target = Path(os.path.realpath(self.path.joinpath(*parts)))
        except OSError:
            # It is no link any more.
            target = self.path
        if target.is_relative_to(self.path):
            msg = f"{shown} is a symbolic link; links are not followed"
            raise PathRefusedError(msg)
        msg = f"{shown} leads outside the data root"
        raise PathBlockedError(msg)


def components(path: str) -> tuple[str, ...]:
    """
    Split a relative path into its names, none for the root.

    Raises PathBlockedError for whatever could climb out of the root and PathRefusedError for
    what is no path.
    """
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
    try:
        length = len("/".join(parts).encode())
    except UnicodeEncodeError:
        msg = "a path must be text that UTF-8 can write"
        raise PathRefusedError(msg) from None
    if length > MAX_PATH_BYTES:
        msg = f"a path has at most {MAX_PATH_BYTES} bytes"
        raise PathRefusedError(msg)
    return parts


def _met_link(error: OSError, name: str, folder_fd: int) -> bool:
    """Whether it was for a link that a name could not be opened."""
    if error.errno != errno.ENOTDIR:
        return error.errno == errno.ELOOP
    # Where a folder was wanted, this is how a link is refused, and how a file is.
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=folder_fd).st_mode)
    except OSError:
        return False


def _neither(shown: str) -> str:
    return f"{shown} is neither a file nor a folder"


class Found(NamedTuple):
    """One entry met on a walk: its path, the directory entry and its folder's descriptor."""

    path: str
    entry: os.DirEntry[str]
    folder_fd: int


LeftOut = Callable[[str], None]
"""Told what is not walked, in words that follow a number: "folders deeper than 64 levels"."""


def _say_nothing(_: str) -> None:
    """Let what is left out be forgotten."""


class _Listing(NamedTuple):
    """A folder in the middle of a walk."""

    fd: int
    prefix: str
    entries: Iterator[os.DirEntry[str]]
    held: int


def walk(
    fd: int, path: str, *, depth: int = MAX_DEPTH, left_out: LeftOut = _say_nothing
) -> Iterator[Found]:
    """
    Yield everything beneath a folder in sorted order, a folder before what it holds.

    Links are yielded but never followed, and a folder that vanishes on the way is passed over.
    `folder_fd` is open only until the next step of the iteration. Of all folders being listed
    at most MAX_ENTRIES entries are held together: `left_out` is told of each folder cut short,
    too deep or unreadable.
    """
    open_folders = [_list(fd, "" if path == "." else f"{path}/", MAX_ENTRIES, left_out)]
    held = open_folders[0].held
    try:
        while open_folders:
            listing = open_folders[-1]
            entry = next(listing.entries, None)
            if entry is None:
                held -= open_folders.pop().held
                if open_folders:
                    os.close(listing.fd)
                continue
            found = Found(listing.prefix + entry.name, entry, listing.fd)
            yield found
            if not entry.is_dir(follow_symlinks=False):
                continue
            if len(open_folders) == MAX_DEPTH:
                left_out(f"folders deeper than {MAX_DEPTH} levels")
            elif len(open_folders) < depth:
                inner = open_beneath(found, os.O_DIRECTORY)
                if inner is None:
                    left_out("folders that could not be opened")
                    continue
                try:
                    listed = _list(inner, f"{found.path}/", MAX_ENTRIES - held, left_out)
                except BaseException:
                    os.close(inner)
                    raise
                open_folders.append(listed)
                held += listed.held
    finally:
        for listing in open_folders[1:]:
            os.close(listing.fd)


def _list(fd: int, prefix: str, room: int, left_out: LeftOut) -> _Listing:
    with os.scandir(fd) as listing:
        entries = [entry for entry in islice(listing, room) if not _is_unfinished(entry)]
        if next(listing, None) is not None:
            left_out(f"folders from their entry number {room + 1} on")
    entries.sort(key=lambda entry: entry.name)
    return _Listing(fd, prefix, iter(entries), len(entries))


def _is_unfinished(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(UNFINISHED)


def open_beneath(found: Found, flags: int = 0) -> int | None:
    """Open an entry met on a walk, or answer None if it is gone or has become a link."""
    try:
        return os.open(found.entry.name, _FLAGS | flags, dir_fd=found.folder_fd)
    except OSError:
        return None
