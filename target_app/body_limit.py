"""How much of a request's body the app reads before it refuses the rest."""

from __future__ import annotations

import re

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SMALL_BODY = 64 * 1024
"""Bytes of any request that carries no document."""

JSON_BODY = 256 * 1024
"""
Bytes of a document in JSON, which is read whole, and on the event loop: of 20 MB in small pieces
it would stand still for seconds. An upload is read piece by piece.
"""

DOCUMENTS = "/api/documents"
UPLOAD = f"{DOCUMENTS}/upload"


class BodyLimit:
    """
    Pure ASGI middleware that ends the reading of a body with 413 once it is too large.

    FastAPI's own limit answers in plain text, and this API has one shape of errors.
    """

    def __init__(self, app: ASGIApp, max_file_size: int) -> None:
        """
        Let documents of `max_file_size` bytes through.

        JSON and forms make them longer: twice is room enough, and of an upload the size of the
        document itself is watched too.
        """
        self._app = app
        self._upload_bytes = 2 * max_file_size + SMALL_BODY
        self._json_bytes = min(JSON_BODY, self._upload_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with a watch on what is read of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope)
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

    def _limit(self, scope: Scope) -> int:
        path = get_route_path(scope)
        if path == UPLOAD and scope["method"] == "POST":
            return self._upload_bytes
        return self._json_bytes if path.startswith(DOCUMENTS) else SMALL_BODY


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body is larger than {limit} bytes")
