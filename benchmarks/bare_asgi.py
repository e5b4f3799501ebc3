"""What plain ASGI apps without a framework need: the body of a request, an answer, a lifespan."""

from __future__ import annotations

from starlette.types import Receive, Send

_HEADERS = [(b"content-type", b"application/json")]


async def whole_body(receive: Receive) -> bytes:
    """Take in the body of a request."""
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


async def answer_json(send: Send, body: bytes, status: int = 200) -> None:
    """Send a whole answer, which is JSON."""
    await send({"type": "http.response.start", "status": status, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": body})


async def last_as_long(receive: Receive, send: Send) -> None:
    """Do nothing at start-up and shutdown."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
