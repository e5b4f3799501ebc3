"""
The worker process: confines itself once, then runs commands for the app until the link closes.

It imports as little as it can, because every worker pays for it, and everything it will need,
because it can open no module once it is confined.
"""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

from target_app.sandbox.confine import ConfinementError, IsolationLevel, confine
from target_app.sandbox.frames import FrameReader, Header, frame, receive
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.result import Command
from target_app.sandbox.run import run_command


def main(fd: int) -> None:
    """Serve the app at the other end of a socket: first its orders, then its commands."""
    with socket.socket(fileno=fd) as link:
        reader = FrameReader(max_payload_bytes=0)
        first = receive(link, reader)
        if first is None:
            return
        orders, _ = first
        try:
            root = DataRoot(Path(orders["root"]))
            confined_to = root.identity()
            confinement = confine(
                root.path,
                memory_bytes=orders["memory_bytes"],
                parent_pid=orders["parent_pid"],
                wanted=IsolationLevel(orders["wanted"]),
            )
        except (OSError, ConfinementError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            link.sendall(frame({"error": reason}))
            return
        link.sendall(frame({"level": confinement.level, "shortfall": confinement.shortfall}))
        limits = Limits(**orders["limits"])
        while (request := receive(link, reader)) is not None:
            link.sendall(_answer(root, confined_to, request[0], limits))


def _answer(
    root: DataRoot, confined_to: tuple[int, int], request: Header, limits: Limits
) -> bytes:
    if _is_another(root, confined_to):
        return frame({"stale": True})
    if "ping" in request:
        return frame({})
    command = Command(request["name"], request["path"], request["options"])
    execution = run_command(root, command, limits)
    answer: Header = dataclasses.asdict(execution)
    payload = answer.pop("stdout").encode(errors="replace")
    return frame(answer, payload)


def _is_another(root: DataRoot, confined_to: tuple[int, int]) -> bool:
    """Whether the folder was replaced by another, which this process may see but not open."""
    try:
        status = root.path.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) != confined_to
