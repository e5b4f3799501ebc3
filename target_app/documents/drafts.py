"""Writing a document beside its place, so that readers see the old or the new one, whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self

from target_app.documents.errors import DocumentTooLargeError, FolderBusyError
from target_app.documents.files import Saved, info_of, split, version_of
from target_app.file_lock import lock_file
from target_app.sandbox.paths import UNFINISHED

LOCK_SECONDS = 5.0
"""How long a writer waits for another one in the same folder, which needs milliseconds."""


@dataclass(frozen=True, slots=True)
class Old:
    """A document that is to be replaced; `demand` raises when it may not be any more."""

    mode: int
    demand: Callable[[], None]


class Draft:
    """
    A document being written beside its place, which sees it whole or not at all.

    To be used as a context manager, which removes it unless it was put in place.
    """

    def __init__(
        self,
        folder_fd: int,
        path: str,
        max_bytes: int,
        telling: Callable[[str], AbstractContextManager[None]],
        old: Old | None = None,
    ) -> None:
        """
        Begin a file in the folder, whose descriptor is closed with the draft.

        `telling` turns the errors of the system into ours. Without an `old` document nothing
        may be in its place.
        """
        self._path = path
        self._telling = telling
        self._old = old
        self._name = split(path)[1]
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._draft: str | None = f"{UNFINISHED}{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._draft, flags, 0o666, dir_fd=folder_fd)
        self._folder_fd = folder_fd

    def write(self, data: bytes) -> None:
        """Add to the end. Raises DocumentTooLargeError before the limit is passed."""
        self._left -= len(data)
        if self._left < 0:
            raise DocumentTooLargeError(f"{self._path} is larger than {self._max_bytes} bytes")
        view = memoryview(data)
        with self._telling(self._path):
            while view:
                view = view[os.write(self._fd, view) :]

    def place(self) -> Saved:
        """
        Put the document in its place.

        Raises DocumentExistsError when another one is there that it is not to replace, and
        what `Documents.redraft` raises when the one to replace is not there any more.
        """
        return self._create() if self._old is None else self._replace(self._old)

    def _create(self) -> Saved:
        with self._telling(self._path):
            os.fsync(self._fd)
            # A link is refused when the name is taken, where a rename would replace it.
            os.link(
                self._unfinished,
                self._name,
                src_dir_fd=self._folder_fd,
                dst_dir_fd=self._folder_fd,
                follow_symlinks=False,
            )
            self._discard()
            return self._saved()

    def _replace(self, old: Old) -> Saved:
        with self._telling(self._path):
            os.fchmod(self._fd, stat.S_IMODE(old.mode) & 0o777)
            os.fsync(self._fd)
            with one_writer(self._folder_fd):
                old.demand()
                os.rename(
                    self._unfinished,
                    self._name,
                    src_dir_fd=self._folder_fd,
                    dst_dir_fd=self._folder_fd,
                )
                self._draft = None
            return self._saved()

    def close(self) -> None:
        """Remove what was not put in place, and close the descriptors."""
        try:
            # Gone with its folder, or not to be removed: it is listed nowhere.
            with contextlib.suppress(OSError):
                self._discard()
        finally:
            os.close(self._fd)
            os.close(self._folder_fd)

    def __enter__(self) -> Self:
        """Hand out the draft."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was not put in place."""
        self.close()

    @property
    def _unfinished(self) -> str:
        if self._draft is None:
            raise RuntimeError("the draft was put in place already")
        return self._draft

    def _discard(self) -> None:
        if self._draft is not None:
            os.unlink(self._draft, dir_fd=self._folder_fd)
            self._draft = None

    def _saved(self) -> Saved:
        """Look at the file last: putting it in place has changed its version."""
        os.fsync(self._folder_fd)
        status = os.fstat(self._fd)
        return Saved(info_of(self._path, status), version_of(status))


@contextlib.contextmanager
def one_writer(folder_fd: int) -> Iterator[None]:
    """Keep the app's other writers, in this process and in others, out of the folder."""
    try:
        lock_file(folder_fd, LOCK_SECONDS)
    except TimeoutError:
        raise FolderBusyError("another program keeps the folder locked") from None
    except OSError:
        # Where a file system has no such lock, the last writer wins, as between any two.
        pass
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(folder_fd, fcntl.LOCK_UN)
