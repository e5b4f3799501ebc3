"""The documents: listed, read, written and deleted beneath the data root, without HTTP."""

from __future__ import annotations

from target_app.documents.drafts import Draft
from target_app.documents.errors import (
    AccessDeniedError,
    BadNameError,
    DataRootGoneError,
    DocumentChangedError,
    DocumentError,
    DocumentExistsError,
    DocumentTooLargeError,
    FolderBusyError,
    NoSuchDocumentError,
    NotADocumentError,
    NotTextError,
    StorageFullError,
)
from target_app.documents.files import DocumentInfo, OpenDocument, Saved
from target_app.documents.store import Documents, place_in

__all__ = [
    "AccessDeniedError",
    "BadNameError",
    "DataRootGoneError",
    "DocumentChangedError",
    "DocumentError",
    "DocumentExistsError",
    "DocumentInfo",
    "DocumentTooLargeError",
    "Documents",
    "Draft",
    "FolderBusyError",
    "NoSuchDocumentError",
    "NotADocumentError",
    "NotTextError",
    "OpenDocument",
    "Saved",
    "StorageFullError",
    "place_in",
]
