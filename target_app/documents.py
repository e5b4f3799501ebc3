"""
What can be done with documents: list, read, write and delete them. Nothing here knows of HTTP.

Everything blocks, so it is to be called in a thread. Paths are relative to the data root and
opened beneath it by descriptor, as the tools do it; no message here has an absolute path in it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Self

from target_app.sandbox.paths import (
    MAX_DEPTH,
    UNFINISHED,
    DataRoot,
    Opened,
    PathBlockedError,
    walk,
)

MAX_LOOKED_AT = 200_000
"""Documents and folders looked at for one listing. Of more it shows a part, and says so."""

_LATEST = 253_402_300_799
"""The last second of the year 9999: files can be dated later, calendars cannot."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that a terminal or a log takes for more than text."""

_MAX_NAME_BYTES = 255

LOCK_SECONDS = 5.0
"""How long a writer waits for another one in the same folder, which needs milliseconds."""

_LOCK_PAUSE_SECONDS = 0.005

Condition = Callable[[str], bool]
"""Whether a document of this version may be replaced or deleted."""


class DocumentError(Exception):
    """Something could not be done with a document; the message says why, for the caller."""


class NoSuchDocumentError(DocumentError):
    """Nothing is there."""


class DocumentExistsError(DocumentError):
    """Something is there already, or a file where a folder would have to be."""


class NotADocumentError(DocumentError):
    """A folder where a document is wanted, or the other way round."""


class NotTextError(DocumentError):
    """A document that is not UTF-8 text, or that has a NUL in it."""


class DocumentTooLargeError(DocumentError):
    """Larger than the limit of a document."""


class DocumentChangedError(DocumentError):
    """Not the version the caller knows."""


class BadNameError(DocumentError):
    """A name no document can have."""


class AccessDeniedError(DocumentError):
    """The app has not the right to do it."""


class StorageFullError(DocumentError):
    """No room is left on the disk, or in the app's share of it."""


class FolderBusyError(DocumentError):
    """Another program keeps the folder locked."""


class DataRootGoneError(DocumentError):
    """The folder of documents itself is not there."""


_FAULTS: dict[int, tuple[type[DocumentError], str]] = {
    errno.ENOENT: (NoSuchDocumentError, "no such document"),
    errno.EEXIST: (DocumentExistsError, "is there already"),
    errno.ENOTDIR: (DocumentExistsError, "leads through a file"),
    errno.EISDIR: (NotADocumentError, "is a folder"),
    errno.ENAMETOOLONG: (BadNameError, "is too long a name"),
    errno.EINVAL: (BadNameError, "is no name a document can have"),
    errno.EILSEQ: (BadNameError, "is no name a document can have"),
    errno.EACCES: (AccessDeniedError, "permission denied"),
    errno.EPERM: (AccessDeniedError, "permission denied"),
    errno.EROFS: (AccessDeniedError, "the documents are read-only"),
    errno.ENOSPC: (StorageFullError, "no space left"),
    errno.EDQUOT: (StorageFullError, "no space left"),
    errno.EFBIG: (StorageFullError, "no space left"),
}


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


class Documents:
    """The documents of one data root."""

    def __init__(self, root: DataRoot, max_bytes: int) -> None:
        """Read and write documents of at most `max_bytes`."""
        self._root = root
        self._max_bytes = max_bytes

    def list(self, path: str, *, recursive: bool, hidden: bool, limit: int) -> Listing:
        """
        List at most `limit` documents and folders, sorted; a folder stands before what it holds.

        Names that begin with a dot are left out unless `hidden`, as `ls` does it. Links, pipes
        and devices are no documents. Raises DocumentError, PathBlockedError, PathRefusedError.
        """
        with self._telling(path), self._root.open(path) as opened:
            if opened.fd is None:
                raise self._nothing(path)
            if not opened.is_directory:
                raise NotADocumentError(f"{opened.path} is no folder")
            left_out: list[str] = []
            items: list[DocumentInfo] = []
            prefix = "" if opened.path == "." else f"{opened.path}/"
            depth = MAX_DEPTH if recursive else 1
            entries = walk(opened.fd, opened.path, depth=depth, left_out=left_out.append)
            for looked_at, found in enumerate(entries):
                if len(items) > limit or looked_at == MAX_LOOKED_AT:
                    left_out.append("the rest")
                    break
                status = _status(found.entry)
                is_hidden = "/." in f"/{found.path.removeprefix(prefix)}"
                if status is not None and (hidden or not is_hidden):
                    items.append(_info(found.path, status))
            truncated = bool(left_out) or len(items) > limit
            return Listing(opened.path, items[:limit], truncated)

    def open(self, path: str, *, whole: bool = True) -> OpenDocument:
        """
        Open a document to read it; unless it is read `whole`, it may have any size.

        Raises DocumentError, PathBlockedError or PathRefusedError.
        """
        with self._telling(path), contextlib.ExitStack() as stack:
            document = self._opened(stack.enter_context(self._root.open(path)))
            if whole and document.info.size > self._max_bytes:
                raise self._too_large(document.info.path)
            # From here on the document closes the descriptor.
            stack.pop_all()
            return document

    def read(self, path: str) -> tuple[str, Saved]:
        """Read a document that is text. Raises as `open`, and NotTextError."""
        with self.open(path) as document, self._telling(path):
            data = document.read(0, document.info.size)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise NotTextError(f"{document.info.path} is not text; download it instead")
        return text, Saved(document.info, document.version)

    def create(self, path: str, content: bytes) -> Saved:
        """
        Write a document where nothing is, making the folders it needs.

        Raises DocumentExistsError when something is there. Of several at once, one succeeds.
        """
        self._fits(path, content)
        with self.draft(path) as draft:
            draft.write(content)
            return draft.place()

    def draft(self, path: str) -> Draft:
        """
        Begin a new document that is written bit by bit; `Draft.place` puts it in place.

        The folders it needs are made now, and stay even if the draft is given up.
        """
        with self._telling(path):
            with self._root.open(path) as opened:
                if opened.fd is not None:
                    raise DocumentExistsError(f"{opened.path} is there already")
            return self._begin(opened.path, make=True)

    def replace(self, path: str, content: bytes, condition: Condition | None = None) -> Saved:
        """Put other content in the place of a document's. Raises as `redraft`."""
        self._fits(path, content)
        with self.redraft(path, condition) as draft:
            draft.write(content)
            return draft.place()

    def redraft(self, path: str, condition: Condition | None = None) -> Draft:
        """
        Begin other content for a document; readers see the old or the new, whole.

        Raises NoSuchDocumentError when there is none, DocumentChangedError when the condition
        does not hold, now or when the draft is put in place.
        """
        with self.open(path, whole=False) as document:
            mode = os.fstat(document.fd).st_mode
            _demand(document, condition)
        old = _Old(mode, lambda: self._demand_again(path, condition))
        with self._telling(path):
            return self._begin(document.info.path, make=False, old=old)

    def delete(self, path: str, condition: Condition | None = None) -> str:
        """Delete a document, never a folder, and answer its path. Raises as `replace`."""
        with self._telling(path):
            with self.open(path, whole=False) as document:
                shown = document.info.path
            folder, name = _split(shown)
            folder_fd = self._root.open_folder(folder)
            try:
                with _one_writer(folder_fd):
                    self._demand_again(path, condition)
                    os.unlink(name, dir_fd=folder_fd)
                os.fsync(folder_fd)
            finally:
                os.close(folder_fd)
            return shown

    def _opened(self, opened: Opened) -> OpenDocument:
        if opened.fd is None or opened.status is None:
            raise self._nothing(opened.path)
        if opened.is_directory:
            raise NotADocumentError(f"{opened.path} is a folder")
        info = _info(opened.path, opened.status)
        return OpenDocument(info, version_of(opened.status), opened.fd)

    def _begin(self, path: str, *, make: bool, old: _Old | None = None) -> Draft:
        parts = path.split("/")
        # In a folder of such a name it would be a document that no walk comes to.
        if any(part.startswith(UNFINISHED) for part in parts) or _CONTROL.search(path):
            raise BadNameError(f"{path!r} is no name a document can have")
        if any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in parts):
            raise BadNameError(f"{path} is too long a name")
        folder_fd = self._root.open_folder(_split(path)[0], make=make)
        try:
            return Draft(folder_fd, path, self._max_bytes, self._telling, old)
        except BaseException:
            os.close(folder_fd)
            raise

    def _demand_again(self, path: str, condition: Condition | None) -> None:
        with self.open(path, whole=False) as document:
            _demand(document, condition)

    def _fits(self, path: str, content: bytes) -> None:
        if len(content) > self._max_bytes:
            raise self._too_large(path)

    def _too_large(self, path: str) -> DocumentTooLargeError:
        return DocumentTooLargeError(f"{path} is larger than {self._max_bytes} bytes")

    def _nothing(self, path: str) -> DocumentError:
        return NoSuchDocumentError(f"{path}: no such document")

    @contextlib.contextmanager
    def _telling(self, path: str) -> Iterator[None]:
        """Turn what the system says into what a caller is told."""
        try:
            yield
        except OSError as error:
            if not self._root.is_there():
                raise DataRootGoneError("the folder of documents is not there") from None
            raise _told(path, error) from error


@dataclass(frozen=True, slots=True)
class _Old:
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
        old: _Old | None = None,
    ) -> None:
        """
        Begin a file in the folder, whose descriptor is closed with the draft.

        `telling` turns the errors of the system into ours. Without an `old` document nothing
        may be in its place.
        """
        self._path = path
        self._telling = telling
        self._old = old
        self._name = _split(path)[1]
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

    def _replace(self, old: _Old) -> Saved:
        with self._telling(self._path):
            os.fchmod(self._fd, stat.S_IMODE(old.mode) & 0o777)
            os.fsync(self._fd)
            with _one_writer(self._folder_fd):
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
        return Saved(_info(self._path, status), version_of(status))


def version_of(status: os.stat_result) -> str:
    """Name the version of a file: any change of it, or another file in its place, has another."""
    parts = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _demand(document: OpenDocument, condition: Condition | None) -> None:
    if condition is not None and not condition(document.version):
        raise DocumentChangedError(f"{document.info.path} is not the version that was named")


@contextlib.contextmanager
def _one_writer(folder_fd: int) -> Iterator[None]:
    """Keep the app's other writers, in this process and in others, out of the folder."""
    _lock(folder_fd)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(folder_fd, fcntl.LOCK_UN)


def _lock(folder_fd: int) -> None:
    """Lock a folder. Any program that may read it can, and hold on: raises FolderBusyError."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise FolderBusyError("another program keeps the folder locked") from None
            time.sleep(_LOCK_PAUSE_SECONDS)
        except OSError:
            # Where a file system has no such lock, the last writer wins, as between any two.
            return
        else:
            return


def place_in(folder: str, filename: str) -> str:
    """Answer the path of a document in a folder, under a name that another system gave it."""
    if "/" in filename or "\\" in filename:
        raise PathBlockedError("the name of a file cannot lead through folders")
    if filename in {"", "."}:
        raise BadNameError("a file needs a name")
    return f"{folder}/{filename}" if folder else filename


def _split(path: str) -> tuple[str, str]:
    """Split an authorised path into folder and name."""
    folder, _, name = path.rpartition("/")
    return folder or ".", name


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Look at an entry, or answer None when it is no document or gone."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) else None


def _info(path: str, status: os.stat_result) -> DocumentInfo:
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


def _told(path: str, error: OSError) -> Exception:
    """Say in our words what the system refused; what we did not foresee stays as it is."""
    kind, reason = _FAULTS.get(error.errno or 0, (None, ""))
    return error if kind is None else kind(f"{path}: {reason}")
