"""A server whose every answer, good or broken, is known to the byte; and processes for Locust."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    names: tuple[str, ...] = ()


@dataclass
class KnownServer:
    """What a message is answered with: raw bytes, then silence (hangs) or the end."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, message: str, raw: bytes, *, hangs: bool = False) -> None:
        """Answer this message, or else this method and path, with these bytes."""
        self.answers[message] = (raw, hangs)


@pytest.fixture(scope="module")
def server() -> Iterator[KnownServer]:
    """Serve known answers from a thread, one request a connection."""
    known = KnownServer()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            first = self.rfile.readline().decode()
            if not first:
                return
            method, path, _ = first.split()
            headers, names = {}, []
            while line := self.rfile.readline().strip().decode():
                name, _, value = line.partition(": ")
                headers[name.lower()] = value
                names.append(name.lower())
            data = self.rfile.read(int(headers.get("content-length", 0)))
            body = json.loads(data) if data else {}
            known.asked.append(Asked(method, path, headers, body, tuple(names)))
            key = str(body.get("message", f"{method} {path}"))
            raw, hangs = known.answers[key]
            with suppress(ConnectionError):  # a client may have had enough
                self.wfile.write(raw)
            if hangs:
                known.over.wait(60)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", 0), Handler) as serving:
        known.url = f"http://127.0.0.1:{serving.server_address[1]}"
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield known
        known.over.set()
        serving.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def in_child() -> Callable[..., Any]:
    """
    Run a script beside these tests in a process of its own, and give the JSON it prints.

    Locust patches the process it is imported in, which would be this one.
    """

    def run(script: str, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name(script)), *arguments],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
