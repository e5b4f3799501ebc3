"""
The state of files and trees: what must be unchanged for a remembered result to be true.

Size and modification time alone can be forged or repeated, so the change time and the inode
are compared too. A state is always taken before the files are read: a change during the read
then differs from it at the next look.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from target_app.sandbox.paths import MAX_DEPTH, Found, Opened, open_beneath

SETTLED_AFTER_NS = 20_000_000
"""Two changes within one tick of the file system's clock can carry the same time (ns)."""


class Change(StrEnum):
    """Why a remembered result is no longer true."""

    FILE = "file_change"
    DIRECTORY = "directory_change"
    EXPIRED = "ttl_expired"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class State:
    """
    The state of a scope: which paths there are, and which contents they have.

    `newest_change_ns` is the latest change time in the scope, 0 when nothing is there.
    """

    structure: bytes
    contents: bytes
    newest_change_ns: int

    def change_to(self, now: State) -> Change | None:
        """Name what is different now; None when nothing is."""
        if self.structure != now.structure:
            return Change.DIRECTORY
        if self.contents != now.contents:
            return Change.FILE
        return None

    def is_settled(self, now_ns: int) -> bool:
        """Whether any later change is certain to be seen as a different time."""
        return now_ns - self.newest_change_ns >= SETTLED_AFTER_NS


def file_state(opened: Opened, check: Callable[[], None]) -> State:
    """Take the state of one path: its own, not that of what it may hold."""
    check()
    if opened.status is None:
        return State(b"absent", b"", 0)
    kind = b"directory" if opened.is_directory else b"file"
    return State(kind, _stamp(opened.status).encode(), opened.status.st_ctime_ns)


def tree_state(opened: Opened, check: Callable[[], None]) -> State:
    """
    Take the state of a path and of everything beneath it.

    `check` is called at every folder and may raise, to bound the walk in time.
    """
    if opened.fd is None or opened.status is None or not opened.is_directory:
        return file_state(opened, check)
    scan = _Scan(check)
    scan.structure.append(_stamp(opened.status))
    scan.changes_ns.append(opened.status.st_ctime_ns)
    scan.folder(opened.fd, "", MAX_DEPTH)
    return State(_digest(scan.structure), _digest(scan.contents), max(scan.changes_ns))


@dataclass(slots=True)
class _Scan:
    """
    What a walk over a tree gathers.

    Not made of `sandbox.paths.walk`, because it runs at every look into the search cache and
    this takes half the time.
    """

    check: Callable[[], None]
    structure: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)
    changes_ns: list[int] = field(default_factory=list)

    def folder(self, fd: int, prefix: str, depth: int) -> None:
        self.check()
        folders = []
        with os.scandir(fd) as listing:
            for entry in listing:
                path = prefix + entry.name
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    # Gone since it was listed: its folder's own times tell the next look.
                    continue
                self.changes_ns.append(status.st_ctime_ns)
                if entry.is_dir(follow_symlinks=False):
                    folders.append((path, entry))
                    self.structure.append(f"{path}/{_stamp(status)}")
                else:
                    self.structure.append(path)
                    self.contents.append(f"{path}/{_stamp(status)}")
        for path, entry in folders if depth > 1 else ():
            inner = open_beneath(Found(path, entry, fd), os.O_DIRECTORY)
            if inner is not None:
                try:
                    self.folder(inner, f"{path}/", depth - 1)
                finally:
                    os.close(inner)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}.{status.st_ctime_ns}.{status.st_size}.{status.st_ino}"


def _digest(parts: list[str]) -> bytes:
    # A name cannot hold a NUL, so joining by it keeps different lists different. The system
    # lists a folder in no particular order.
    return hashlib.blake2b(
        "\0".join(sorted(parts)).encode(errors="surrogateescape"), digest_size=16
    ).digest()
