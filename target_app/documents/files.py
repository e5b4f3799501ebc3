"""What is known of a document, and reading it by its descriptor."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Self

_LATEST = 253_402_300_799
"""The last second of the year 9999: files can be dated later, calendars cannot."""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """
    What is known of a document or folder without reading it.

    `size` is in bytes, 0 for a folder; `extension` begins with its dot, or is empty.
    """

    name: str
    path: str
    is_directory: bool
    size: int
    modified: datetime
    extension: str


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a folder, sorted by name; `truncated` when there is more than that."""

    path: str
    items: list[DocumentInfo]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """A document as it was written. `version` is another one after every change."""

    info: DocumentInfo
    version: str


@dataclass(frozen=True, slots=True)
class OpenDocument:
    """
    A document and its descriptor. To be used as a context manager, which closes it.

    What is read is this very file, even if another one takes its name meanwhile.
    """

    info: DocumentInfo
    version: str
    fd: int

    def read(self, offset: int, size: int) -> bytes:
        """Read at most `size` bytes from `offset`, less only at the end."""
        pieces = []
        while size > 0 and (piece := os.pread(self.fd, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def is_unchanged(self) -> bool:
        """Whether the file is still the version that was opened."""
        return version_of(os.fstat(self.fd)) == self.version

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def __enter__(self) -> Self:
        """Hand out the open document."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the descriptor."""
        self.close()


def version_of(status: os.stat_result) -> str:
    """Name the version of a file: any change of it, or another file in its place, has another."""
    parts = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def split(path: str) -> tuple[str, str]:
    """Split an authorised path into folder and name."""
    folder, _, name = path.rpartition("/")
    return folder or ".", name


def status_of(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Look at an entry, or answer None when it is no document or gone."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) else None


def info_of(path: str, status: os.stat_result) -> DocumentInfo:
    """Say what the status of an authorised path tells."""
    # A name that is not UTF-8 cannot be asked for, but it can be shown to be there.
    shown = os.fsencode(path).decode(errors="replace")
    name = PurePosixPath(shown)
    is_directory = stat.S_ISDIR(status.st_mode)
    seconds = min(max(status.st_mtime, 0), _LATEST)
    return DocumentInfo(
        name=name.name,
        path=shown,
        is_directory=is_directory,
        size=0 if is_directory else status.st_size,
        modified=datetime.fromtimestamp(seconds, UTC),
        extension=name.suffix,
    )
