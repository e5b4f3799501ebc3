"""A server that takes traces over HTTP, and behaves as a test wants it to."""

from __future__ import annotations

import gzip
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from target_app.observability.metrics import Metrics
from target_app.settings import Settings


@dataclass
class Posted:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> ExportTraceServiceRequest:
        encoded = self.headers.get("content-encoding") == "gzip"
        return ExportTraceServiceRequest.FromString(
            gzip.decompress(self.body) if encoded else self.body
        )


@dataclass
class Told:
    """One span as it came over the wire."""

    name: str
    trace_id: str
    id: str
    parent_id: str
    start: int
    end: int
    kind: int
    failed: bool
    reason: str
    attributes: dict[str, Any]
    resource: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.attributes[key]

    def get(self, key: str) -> Any:
        return self.attributes.get(key)


@dataclass
class Collector:
    """What came in, and how the next requests are answered."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    posted: list[Posted] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    @property
    def spans(self) -> list[Told]:
        return [
            Told(
                name=span.name,
                trace_id=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                start=span.start_time_unix_nano,
                end=span.end_time_unix_nano,
                kind=span.kind,
                failed=span.status.code == span.status.STATUS_CODE_ERROR,
                reason=span.status.message,
                attributes={pair.key: plain(pair.value) for pair in span.attributes},
                resource={pair.key: plain(pair.value) for pair in group.resource.attributes},
            )
            for posted in self.posted
            for group in posted.message.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]


def plain(value: Any) -> Any:
    """Turn a value of the protocol into Python's own."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(part) for part in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a server on a free port of this machine until the block ends."""
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            made.posted.append(Posted(self.path, headers, body))
            made.asked.set()
            made.may_answer.wait()
            try:
                self.send_response(made.status)
                for key, value in made.headers.items():
                    self.send_header(key, value)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                self.close_connection = True  # nobody waits any more

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass  # a client that left

    server = Server(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


_keys = itertools.count()


def settings_for(url: str, folder: Path, **more: Any) -> Settings:
    """Make settings that send to `url`, with a key of their own: the SDK keeps a client a key."""
    return Settings(
        **{
            "data_root_path": folder,
            "openai_api_key": "unused",
            "langfuse_enabled": True,
            "langfuse_public_key": f"pk-collector-{next(_keys)}",
            "langfuse_secret_key": "sk",
            "LANGFUSE_HOST": url,
            "otel_exporter_otlp_endpoint": url,
            **more,
        }
    )


class Plain:
    """Redacts nothing, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def text(self, text: str) -> str:
        self.asked += 1
        return text

    def value(self, value: Any) -> Any:
        self.asked += 1
        return value


def span_counts(metrics: Metrics, sink: str) -> dict[str, float]:
    """Read what became of the spans of a sink, leaving out what did not happen."""
    return {
        sample.labels["result"]: sample.value
        for family in metrics.trace_spans.collect()
        for sample in family.samples
        if sample.name == "trace_spans_total" and sample.labels["sink"] == sink and sample.value
    }


class InTree(Protocol):
    """A span that knows what it is beneath."""

    name: str
    id: str
    parent_id: str | None


def paths(spans: Sequence[InTree]) -> list[str]:
    """Say where each span is, from itself up to the root."""
    by_id = {span.id: span for span in spans}
    found = []
    for span in spans:
        names = [span.name]
        above = by_id.get(span.parent_id or "")
        while above is not None:
            names.append(above.name)
            above = by_id.get(above.parent_id or "")
        found.append(" < ".join(names))
    return found
