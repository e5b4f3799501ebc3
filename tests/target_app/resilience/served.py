"""What a process of the app does. Kept apart from the tests, which it must not import."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import uvicorn

from target_app import services
from target_app.cache.disk import RETRY_SECONDS, Disk
from target_app.main import create_app

GRACEFUL_SECONDS = 2


def serve(
    listening: socket.socket,
    environment: Mapping[str, str],
    log: Path,
    retry_seconds: float = RETRY_SECONDS,
) -> None:
    """Serve the app of this environment; a disk of the cache that failed is left alone so long."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    services.Disk = partial(Disk, retry_seconds=retry_seconds)  # type: ignore[assignment,misc]
    config = uvicorn.Config(
        create_app,
        factory=True,
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listening])
