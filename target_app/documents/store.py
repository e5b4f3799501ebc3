"""
What can be done with documents: list, read, write and delete them. Nothing here knows of HTTP.

Everything blocks, so it is to be called in a thread. Paths are relative to the data root and
opened beneath it by descriptor, as the tools do it; no message here has an absolute path in it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator

from target_app.documents.drafts import Draft, Old, one_writer
from target_app.documents.errors import (
    BadNameError,
    DataRootGoneError,
    DocumentChangedError,
    DocumentError,
    DocumentExistsError,
    DocumentTooLargeError,
    NoSuchDocumentError,
    NotADocumentError,
    NotTextError,
    told,
)
from target_app.documents.files import (
    DocumentInfo,
    Listing,
    OpenDocument,
    Saved,
    info_of,
    split,
    status_of,
    version_of,
)
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

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that a terminal or a log takes for more than text."""

_MAX_NAME_BYTES = 255

Condition = Callable[[str], bool]
"""Whether a document of this version may be replaced or deleted."""


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
                status = status_of(found.entry)
                is_hidden = "/." in f"/{found.path.removeprefix(prefix)}"
                if status is not None and (hidden or not is_hidden):
                    items.append(info_of(found.path, status))
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
        old = Old(mode, lambda: self._demand_again(path, condition))
        with self._telling(path):
            return self._begin(document.info.path, make=False, old=old)

    def delete(self, path: str, condition: Condition | None = None) -> str:
        """Delete a document, never a folder, and answer its path. Raises as `replace`."""
        with self._telling(path):
            with self.open(path, whole=False) as document:
                shown = document.info.path
            folder, name = split(shown)
            folder_fd = self._root.open_folder(folder)
            try:
                with one_writer(folder_fd):
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
        info = info_of(opened.path, opened.status)
        return OpenDocument(info, version_of(opened.status), opened.fd)

    def _begin(self, path: str, *, make: bool, old: Old | None = None) -> Draft:
        parts = path.split("/")
        # In a folder of such a name it would be a document that no walk comes to.
        if any(part.startswith(UNFINISHED) for part in parts) or _CONTROL.search(path):
            raise BadNameError(f"{path!r} is no name a document can have")
        if any(len(os.fsencode(part)) > _MAX_NAME_BYTES for part in parts):
            raise BadNameError(f"{path} is too long a name")
        folder_fd = self._root.open_folder(split(path)[0], make=make)
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
            raise told(path, error) from error


def place_in(folder: str, filename: str) -> str:
    """Answer the path of a document in a folder, under a name that another system gave it."""
    if "/" in filename or "\\" in filename:
        raise PathBlockedError("the name of a file cannot lead through folders")
    if filename in {"", "."}:
        raise BadNameError("a file needs a name")
    return f"{folder}/{filename}" if folder else filename


def _demand(document: OpenDocument, condition: Condition | None) -> None:
    if condition is not None and not condition(document.version):
        raise DocumentChangedError(f"{document.info.path} is not the version that was named")
