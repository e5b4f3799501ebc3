"""How much of a request's body the app reads before it refuses the rest."""

from __future__ import annotations

import re

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_BODY = 64 * 1024
"""Bytes of any request that carries no document."""

DOCUMENTS = "/api/documents"


def document_body(max_file_size: int) -> int:
    """
    Answer how many bytes a request with a document of `max_file_size` may have.

    JSON can make text longer. Twice is room enough for line ends and quotes; what is written in
    escapes only can be larger still, and is to be uploaded instead.
    """
    return 2 * max_file_size + SMALL_BODY


class BodyLimit:
    """
    Pure ASGI middleware that ends the reading of a body with 413 once it is too large.

    FastAPI's own limit answers in plain text, and this API has one shape of errors.
    """

    def __init__(self, app: ASGIApp, document_bytes: int) -> None:
        """Allow `document_bytes` where documents are sent, and SMALL_BODY everywhere else."""
        self._app = app
        self._document_bytes = document_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with a watch on what is read of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_document = get_route_path(scope).startswith(DOCUMENTS)
        limit = self._document_bytes if has_document else SMALL_BODY
        length = Headers(scope=scope).get("content-length", "")
        declared = int(length) if re.fullmatch("[0-9]{1,18}", length) else 0
        read = 0
        answering = False

        async def watched_receive() -> Message:
            nonlocal read
            # Before the first byte, when the caller says how long it will be.
            if declared > limit and not answering:
                raise _too_large(limit)
            message = await receive()
            read += len(message.get("body", b""))
            # A route that is answering already only waits for its caller to leave.
            if read > limit and not answering:
                raise _too_large(limit)
            return message

        async def watched_send(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        await self._app(scope, watched_receive, watched_send)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limit} bytes")
