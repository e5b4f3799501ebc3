"""What can go wrong with a document, in words for the caller."""

from __future__ import annotations

import errno


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


def told(path: str, error: OSError) -> Exception:
    """Say in our words what the system refused; what we did not foresee stays as it is."""
    kind, reason = _FAULTS.get(error.errno or 0, (None, ""))
    return error if kind is None else kind(f"{path}: {reason}")
