"""
Where spans go to be counted: takes OTLP over HTTP, for Langfuse or a collector, or fails to.

It does the least that a server can, so that what is measured is the sender. `GET /counts` tells
the requests and the bytes of their bodies as they came (compressed); of those that were taken,
the bytes when decompressed, and the spans. With a file named, the bodies are kept in it for those
who want to store them later.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bare_asgi import answer_json, last_as_long, whole_body
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import ASGIApp, Receive, Scope, Send

STATUS = "OTLP_SINK_STATUS"
"""Environment variable: the status of every answer; what is not 200 takes no spans."""

WAIT_SECONDS = "OTLP_SINK_WAIT_SECONDS"
"""Environment variable: how long every answer takes."""

KEPT = "OTLP_SINK_KEPT"
"""Environment variable: a file for the bodies."""

OK = 200
_SIZE_BYTES = 8


@dataclass(slots=True)
class Counts:
    """What came, from the start of the process."""

    requests: int = 0
    body_bytes: int = 0
    plain_bytes: int = 0
    spans: int = 0


def create_app() -> ASGIApp:
    """Make the app."""
    status = int(os.environ.get(STATUS, str(OK)))
    wait_seconds = float(os.environ.get(WAIT_SECONDS, "0"))
    file = os.environ.get(KEPT)
    counts = Counts()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await last_as_long(receive, send)
            return
        if scope["method"] == "GET":
            await answer_json(send, json.dumps(asdict(counts)).encode())
            return
        body = await whole_body(receive)
        counts.requests += 1
        counts.body_bytes += len(body)
        await asyncio.sleep(wait_seconds)
        if status == OK:
            plain = _plain(body)
            counts.plain_bytes += len(plain)
            counts.spans += _span_count(plain)
            if file is not None:
                _keep(Path(file), plain)
        await answer_json(send, b"{}", status)

    return app


def kept(file: Path) -> Iterator[bytes]:
    """Give the bodies of a file, decompressed."""
    with file.open("rb") as bodies:
        while size := bodies.read(_SIZE_BYTES):
            yield bodies.read(int.from_bytes(size))


def _keep(file: Path, body: bytes) -> None:
    """Add a body to the file of them: its length, then itself."""
    with file.open("ab") as bodies:
        bodies.write(len(body).to_bytes(_SIZE_BYTES) + body)


def _span_count(body: bytes) -> int:
    sent = ExportTraceServiceRequest.FromString(body)
    return sum(
        len(scope.spans) for resource in sent.resource_spans for scope in resource.scope_spans
    )


def _plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
