"""
The document routes.

A document is `/api/documents/{path}`, whatever its path is. So a download is asked for by a
parameter and not by a longer path: a document may well be named "download". `upload` is a
path of its own for POST only, which no document has; a document named "upload" is read, written
and deleted as any other.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field

from target_app.documents import (
    DocumentInfo,
    Draft,
    OpenDocument,
    Saved,
    place_in,
)
from target_app.routes.conditions import entity_tag, is_known, wanted
from target_app.routes.errors import answers
from target_app.routes.events import Stream
from target_app.routes.threads import to_end
from target_app.routes.uploads import FIELD, Upload
from target_app.services import App

router = APIRouter(prefix="/api/documents", tags=["documents"])

PIECE_BYTES = 256 * 1024
"""How much of a download is in memory."""

MAX_PATH = 4096

READING = answers(400, 403, 404, 413, 422, 503)
WRITING = answers(400, 403, 409, 413, 422, 503, 507)

PathText = Annotated[str, Field(max_length=MAX_PATH)]
DocumentPath = Annotated[
    str, Path(max_length=MAX_PATH, description="Relative to the root of the documents.")
]
FolderPath = Annotated[
    str, Query(max_length=MAX_PATH, description="Relative to the root of the documents.")
]
IfMatch = Annotated[
    str | None, Header(description="Do it only to one of these versions; * is any.")
]


def _writable(text: str) -> str:
    """Refuse half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be text that UTF-8 can write") from None
    return text


Content = Annotated[str, AfterValidator(_writable)]


class NewDocument(BaseModel):
    """A document to create."""

    path: PathText
    content: Content


class NewContent(BaseModel):
    """What is to stand in a document."""

    content: Content


class DocumentList(BaseModel):
    """What is in a folder; `truncated` says that there is more than `total`."""

    path: str
    items: list[DocumentInfo]
    total: int
    truncated: bool


class DocumentContent(BaseModel):
    """A document that is text."""

    path: str
    content: str
    info: DocumentInfo


class DocumentSaved(BaseModel):
    """A document that was written."""

    message: str
    path: str
    info: DocumentInfo


class DocumentUploaded(DocumentSaved):
    """A document that was uploaded; `size` is in bytes."""

    filename: str
    size: int


class DocumentDeleted(BaseModel):
    """A document that is no more."""

    message: str
    path: str


TAG_HEADER = {
    "ETag": {"description": "The version of the document.", "schema": {"type": "string"}}
}
TAGGED: dict[int | str, dict[str, Any]] = {200: {"headers": TAG_HEADER}}
CREATED: dict[int | str, dict[str, Any]] = {201: {"headers": TAG_HEADER}}
REPLACED: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": TAG_HEADER,
        "model": DocumentUploaded,
        "description": "The document was replaced.",
    }
}
READ: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": TAG_HEADER,
        "model": DocumentContent,
        "description": "The text in JSON, or the bytes themselves with download=true.",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
        },
    },
    304: {"description": "The caller has this version already.", "headers": TAG_HEADER},
}
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                    "required": [FIELD],
                    "additionalProperties": False,
                }
            }
        },
    }
}


@router.get("", responses=answers(400, 403, 404, 422, 503))
async def list_documents(
    app: App,
    path: FolderPath = ".",
    *,
    recursive: bool = False,
    hidden: Annotated[bool, Query(description="Names that begin with a dot too.")] = False,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> DocumentList:
    """List the documents and folders in a folder, sorted."""
    listing = await to_end(
        partial(app.documents.list, path, recursive=recursive, hidden=hidden, limit=limit)
    )
    return DocumentList(
        path=listing.path,
        items=listing.items,
        total=len(listing.items),
        truncated=listing.truncated,
    )


@router.post("", status_code=201, responses={**WRITING, **CREATED})
async def create_document(body: NewDocument, response: Response, app: App) -> DocumentSaved:
    """
    Create a document, and the folders it needs. 409 when something is there already.

    A body has at most 256 KiB; upload what is larger.
    """
    saved = await to_end(partial(app.documents.create, body.path, body.content.encode()))
    return _saved("created", saved, response)


@router.post(
    "/upload",
    status_code=201,
    responses={**WRITING, **answers(404, 412), **CREATED, **REPLACED},
    openapi_extra=FORM,
)
async def upload_document(
    request: Request,
    response: Response,
    app: App,
    path: FolderPath = ".",
    *,
    replace: Annotated[bool, Query(description="Replace the document of this name.")] = False,
    if_match: IfMatch = None,
) -> DocumentUploaded:
    """
    Create a document from a file, in the folder `path`. 409 when its name is taken.

    With `replace` it takes the place of the one that has the name: 404 when there is none, 412
    when it is not the version of If-Match.
    """
    upload = Upload(request)
    filename = await upload.read_filename()
    place = place_in(path, filename)
    if replace:
        draft = partial(app.documents.redraft, place, wanted(if_match))
        response.status_code = 200
    else:
        draft = partial(app.documents.draft, place)
    saved = await _keep(draft, upload)
    told = _saved("uploaded", saved, response)
    return DocumentUploaded(**dict(told), filename=filename, size=saved.info.size)


@router.get("/{path:path}", responses={**READING, **READ}, response_model=None)
async def read_document(
    path: DocumentPath,
    app: App,
    *,
    download: Annotated[bool, Query(description="Answer the bytes themselves.")] = False,
    if_none_match: Annotated[
        str | None, Header(description="Versions the caller has already.")
    ] = None,
) -> Response:
    """Read a document: text in JSON, or with `download=true` whatever bytes it has."""
    if download:
        with contextlib.ExitStack() as held:
            document = await to_end(lambda: held.enter_context(app.documents.open(path)))
            if is_known(if_none_match, document.version):
                return _not_modified(document.version)
            return _download(document, held)
    content, saved = await to_end(partial(app.documents.read, path))
    if is_known(if_none_match, saved.version):
        return _not_modified(saved.version)
    shown = DocumentContent(path=saved.info.path, content=content, info=saved.info)
    return Response(
        shown.model_dump_json(),
        media_type="application/json",
        headers={"ETag": entity_tag(saved.version)},
    )


@router.put("/{path:path}", responses={**WRITING, **answers(404, 412), **TAGGED})
async def replace_document(
    path: DocumentPath,
    body: NewContent,
    response: Response,
    app: App,
    if_match: IfMatch = None,
) -> DocumentSaved:
    """
    Put other content into a document. 412 when it is not the version of If-Match.

    A body has at most 256 KiB; upload what is larger, with `replace`.
    """
    content = body.content.encode()
    saved = await to_end(partial(app.documents.replace, path, content, wanted(if_match)))
    return _saved("updated", saved, response)


@router.delete("/{path:path}", responses=answers(400, 403, 404, 412, 422, 503))
async def delete_document(
    path: DocumentPath, app: App, if_match: IfMatch = None
) -> DocumentDeleted:
    """Delete a document. 412 when it is not the version of If-Match."""
    deleted = await to_end(partial(app.documents.delete, path, wanted(if_match)))
    return DocumentDeleted(message="document deleted", path=deleted)


def _not_modified(version: str) -> Response:
    return Response(status_code=304, headers={"ETag": entity_tag(version)})


def _saved(done: str, saved: Saved, response: Response) -> DocumentSaved:
    response.headers["ETag"] = entity_tag(saved.version)
    return DocumentSaved(message=f"document {done}", path=saved.info.path, info=saved.info)


async def _keep(begin: Callable[[], Draft], upload: Upload) -> Saved:
    """Write an upload as it comes; one that breaks off, or grows too large, leaves nothing."""
    with contextlib.ExitStack() as held:
        draft = await to_end(lambda: held.enter_context(begin()))
        async for piece in upload.pieces():
            await to_end(partial(draft.write, piece))
        return await to_end(draft.place)


def _download(document: OpenDocument, held: contextlib.ExitStack) -> Stream:
    """Send a document as it is, not to be shown but saved, whatever it is."""
    name = document.info.name
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in " ._-" else "_" for c in name)
    return Stream(
        _pieces(document),
        held.pop_all(),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(document.info.size),
            # Both forms (RFC 6266): the second one is exact, the first can hold no surprise.
            "Content-Disposition": f'attachment; filename="{plain}"; '
            f"filename*=UTF-8''{quote(name, safe='')}",
            "ETag": entity_tag(document.version),
            "X-Content-Type-Options": "nosniff",
        },
    )


async def _pieces(document: OpenDocument) -> AsyncGenerator[bytes]:
    for offset in range(0, document.info.size, PIECE_BYTES):
        size = min(PIECE_BYTES, document.info.size - offset)
        yield await to_end(partial(document.read, offset, size))
