"""Servers of a benchmark: real processes on 127.0.0.1, and what they use of the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

BESIDE = Path(__file__).resolve().parent
READY_SECONDS = 60.0
STOP_SECONDS = 10.0

SYSTEM = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
"""
What a server is given of the caller's environment. No setting of the app made in the shell
reaches what is measured, and no key of the caller's does.
"""


@dataclass(frozen=True, slots=True)
class Used:
    """What a server and its children use: CPU seconds so far, the rest now."""

    cpu_seconds: float
    rss_bytes: int
    open_files: int


@dataclass(frozen=True, slots=True)
class Server:
    """One server that is up."""

    name: str
    port: int
    process: psutil.Process

    def url(self, path: str) -> str:
        """Say where a path of it is."""
        return f"http://127.0.0.1:{self.port}{path}"

    def used(self) -> Used:
        """Measure its process and all that descend from it."""
        cpu_seconds, rss_bytes, open_files = 0.0, 0, 0
        for process in (self.process, *self.process.children(recursive=True)):
            with process.oneshot():
                times = process.cpu_times()
                cpu_seconds += times.user + times.system
                rss_bytes += process.memory_info().rss
            open_files += process.num_fds()
        return Used(cpu_seconds, rss_bytes, open_files)


@contextmanager
def serving(name: str, app: str, settings: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """
    Serve an ASGI app, named `module:factory`, until the block ends. Its log goes into `folder`.

    It may not be ready yet: see `wait_until_ready`. It ends with this process, however that dies.
    """
    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as listening,
        (folder / f"{name}.log").open("wb") as log,
    ):
        port = listening.getsockname()[1]
        fd = listening.fileno()
        process = psutil.Popen(
            [sys.executable, "-m", "harness.stack.serve", app, "--fd", str(fd)],
            cwd=BESIDE.parent,
            env={**SYSTEM, "PYTHONPATH": str(BESIDE), **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(fd,),
            start_new_session=True,
        )
    try:
        yield Server(name, port, process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(server: Server, folder: Path) -> None:
    """Wait for the first answer. Raises RuntimeError with the server's log when it ended."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if not server.process.is_running() or server.process.status() == psutil.STATUS_ZOMBIE:
            break
        try:
            httpx.get(server.url("/health"), timeout=READY_SECONDS, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return
    log = (folder / f"{server.name}.log").read_text(errors="replace")
    raise RuntimeError(f"{server.name} did not start:\n{log}")
