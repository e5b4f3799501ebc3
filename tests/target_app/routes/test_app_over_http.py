"""The app behind a real server: every route once, and what only a connection can show."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from target_app.main import create_app
from target_app.services import Edges
from target_app.settings import Settings
from tests.target_app.routes.ready import WAIT, ReadyLLM


@dataclass(frozen=True)
class Served:
    """A server of the app, and a client of it."""

    client: httpx.Client
    root: Path
    llm: ReadyLLM
    address: tuple[str, int]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    root = folder / "documents"
    (root / "teams").mkdir(parents=True)
    (root / "readme.md").write_text("alpha\nbeta\n")
    chosen = Settings(
        data_root_path=root,
        openai_api_key="unused",
        cache_directory=folder / "cache",
        cache_management_enabled=True,
        max_file_size=1_000_000,
    )
    llm = ReadyLLM()
    app = create_app(chosen, Edges(llm=llm, span_exporter=InMemorySpanExporter()))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        address = listening.getsockname()
        # The kernel takes connections from now on; they are answered once the app has started.
        with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=30) as client:
            try:
                yield Served(client, root, llm, address)
            finally:
                server.should_exit = True
                thread.join()


def events(text: str) -> list[str]:
    return re.findall(r"^event: (.*)$", text, re.MULTILINE)


def test_every_route_is_answered(served: Served) -> None:
    """One walk over all routes, with the status and a part of each answer."""
    session = {"message": "hello", "session_id": "walk"}
    walk: list[tuple[str, str, dict[str, Any], int, str]] = [
        ("GET", "/", {}, 200, '"name":"Filesystem agent"'),
        ("GET", "/health", {}, 200, '"status":"healthy"'),
        ("GET", "/ready", {}, 200, '"ready":true'),
        ("GET", "/metrics", {}, 200, "http_requests_total"),
        ("GET", "/openapi.json", {}, 200, '"/api/documents/{path}"'),
        ("GET", "/docs", {}, 200, "swagger"),
        ("POST", "/api/chat", {"json": session}, 200, '"response":"done"'),
        ("POST", "/api/chat/stream", {"json": session}, 200, "event: done"),
        ("GET", "/api/chat/sessions/walk/history", {}, 200, '"content":"hello"'),
        ("DELETE", "/api/chat/sessions/walk", {}, 200, '"message":"session deleted"'),
        ("GET", "/api/chat/sessions/walk/history", {}, 404, "SESSION_NOT_FOUND"),
        ("DELETE", "/api/cache", {}, 200, '{"cleared":'),
        ("POST", "/api/documents", {"json": {"path": "a/b.md", "content": "x"}}, 201, "a/b.md"),
        ("POST", "/api/documents", {"json": {"path": "a/b.md", "content": "x"}}, 409, "ALREADY"),
        ("GET", "/api/documents?recursive=true", {}, 200, '"path":"a/b.md"'),
        ("GET", "/api/documents/a/b.md", {}, 200, '"content":"x"'),
        ("PUT", "/api/documents/a/b.md", {"json": {"content": "y"}}, 200, "document updated"),
        ("GET", "/api/documents/a/b.md?download=true", {}, 200, "y"),
        ("GET", "/api/documents/a/b.md", {"headers": {"if-none-match": "*"}}, 304, ""),
        ("DELETE", "/api/documents/a/b.md", {"headers": {"if-match": '"x"'}}, 412, "PRECOND"),
        ("DELETE", "/api/documents/a/b.md", {}, 200, "document deleted"),
        ("GET", "/api/documents/a/b.md", {}, 404, "NOT_FOUND"),
        ("POST", "/api/documents/upload?path=a", {"files": {"file": ("c", b"z")}}, 201, "a/c"),
        ("GET", "/api/stream/file/readme.md", {}, 200, "event: done"),
        ("GET", "/api/stream/file/readme.md?query=beta", {}, 200, '"line_number": 2'),
        ("GET", "/api/stream/search/readme.md?pattern=%5Eb", {}, 200, '"line_number": 2'),
        ("GET", "/api/documents/%2e%2e/secret", {}, 403, "PATH_TRAVERSAL"),
        ("GET", "/api/stream/file/..%2fsecret", {}, 403, "PATH_TRAVERSAL"),
        ("GET", "/api/nothing", {}, 404, "NOT_FOUND"),
        ("PATCH", "/api/chat", {}, 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/api/chat", {"content": b"{"}, 422, "VALIDATION_ERROR"),
    ]
    for method, path, more, status, part in walk:
        answer = served.client.request(method, path, **more)

        assert (method, path, answer.status_code) == (method, path, status)
        assert part in answer.text
        assert str(served.root) not in answer.text
        if status >= 400:
            assert sorted(answer.json()) == ["details", "error", "message"]


def test_a_stream_arrives_while_it_is_made(served: Served) -> None:
    body = {"message": WAIT}
    served.llm.asked.clear()
    served.llm.given_up.clear()
    with served.client.stream("POST", "/api/chat/stream", json=body) as answer:
        lines = answer.iter_lines()
        heard = [line for line in (next(lines) for _ in range(6)) if line.startswith("event")]
        # The LLM has not answered, and never will.
        assert served.llm.asked.wait(10)
        assert not served.llm.given_up.is_set()

    assert heard == ["event: status", "event: status"]
    # The connection was closed with this block: nobody reads on, so nobody works on.
    assert served.llm.given_up.wait(10)


def test_a_chat_whose_client_hangs_up_is_given_up(served: Served) -> None:
    served.llm.asked.clear()
    served.llm.given_up.clear()
    body = json.dumps({"message": WAIT}).encode()
    with socket.create_connection(served.address) as connection:
        connection.sendall(
            b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        assert served.llm.asked.wait(10)

    assert served.llm.given_up.wait(10)


def test_a_large_document_goes_up_and_down_again(served: Served) -> None:
    content = b"0123456789" * 100_000
    up = served.client.post("/api/documents/upload", files={"file": ("large", content)})
    down = served.client.get("/api/documents/large?download=true")

    assert (up.status_code, up.json()["size"]) == (201, 1_000_000)
    assert down.content == content
    assert down.headers["etag"] == up.headers["etag"]


def test_an_upload_above_the_limit_leaves_nothing(served: Served) -> None:
    before = sorted(served.root.rglob("*"))
    answer = served.client.post(
        "/api/documents/upload", files={"file": ("larger", b"x" * 1_000_001)}
    )

    assert (answer.status_code, answer.json()["error"]) == (413, "FILE_TOO_LARGE")
    assert sorted(served.root.rglob("*")) == before


def test_an_upload_that_breaks_off_leaves_nothing(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    before = sorted(served.root.rglob("*"))
    with socket.create_connection(served.address) as connection:
        connection.sendall(
            b"POST /api/documents/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="half"\r\n\r\n'
            b"half a sen"
        )
        connection.shutdown(socket.SHUT_WR)
    # The route notices it a little later.
    ended = 'endpoint="/api/documents/upload",method="POST",status="aborted"} 1.0'
    assert any(ended in served.client.get("/metrics").text for _ in range(1000))
    assert sorted(served.root.rglob("*")) == before
    assert served.client.get("/api/documents/half").status_code == 404
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_body_of_a_hundred_megabytes_is_refused_after_a_small_part_of_it(
    served: Served,
) -> None:
    answer = served.client.post(
        "/api/chat",
        content=(b'{"message": "' if first else b"x" * 1_000_000 for first in [1] + [0] * 100),
        headers={"content-type": "application/json"},
    )

    assert (answer.status_code, answer.json()["error"]) == (413, "BODY_TOO_LARGE")


def test_a_file_far_above_the_limit_is_streamed_and_searched(served: Served) -> None:
    with (served.root / "huge").open("w") as file:
        for number in range(30_000):
            file.write(f"{'needle' if number == 29_999 else '':>99}\n")

    whole = served.client.get("/api/stream/file/huge?chunk_size=1048576").text
    found = served.client.get("/api/stream/search/huge?pattern=needle$").text

    assert events(whole)[-1] == "done"
    assert '{"total_bytes": 3000000}' in whole
    assert '"line_number": 30000' in found
    assert events(found)[-1] == "done"
