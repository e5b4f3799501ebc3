"""Run in a process of its own: confine it, try what it must not be able to do, and tell."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from target_app.sandbox.confine import IsolationLevel, confine


def tried(attempt: Callable[[], Any]) -> str:
    """Say what came of an attempt: "done" or the name of the error."""
    try:
        attempt()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "done"


def main(root: Path, outside: Path, port: int, wanted: str) -> None:
    """Print one line of JSON: the confinement, and what came of each attempt."""
    confinement = confine(
        root,
        memory_bytes=200_000_000,
        parent_pid=os.getppid(),
        wanted=IsolationLevel(wanted),
    )

    def connect() -> None:
        with socket.create_connection(("127.0.0.1", port)):
            pass

    def write() -> None:
        with (root / "written").open("w") as file:
            file.write("x")

    def hold_files() -> None:
        with contextlib.ExitStack() as held:
            for _ in range(300):
                held.enter_context((root / "teams" / "blue.txt").open())

    attempts: dict[str, Callable[[], Any]] = {
        "read inside": (root / "readme.md").read_bytes,
        "list inside": lambda: list(root.iterdir()),
        "read outside": outside.read_bytes,
        "list outside": lambda: list(root.parent.iterdir()),
        "read /etc/passwd": Path("/etc/passwd").read_bytes,
        "read /proc/self/environ": Path("/proc/self/environ").read_bytes,
        "write a file": write,
        "change a file": lambda: os.truncate(root / "readme.md", 0),
        "remove a file": (root / "teams" / "red.txt").unlink,
        "make a folder": (root / "made").mkdir,
        "make a link": lambda: (root / "linked").symlink_to("/etc"),
        "rename a file": lambda: (root / "readme.md").rename(root / "renamed"),
        "connect": connect,
        "signal the parent": lambda: os.kill(os.getppid(), 0),
        "use much memory": lambda: bytearray(400_000_000),
        "open many files": hold_files,
    }
    if confinement.level is IsolationLevel.LANDLOCK:
        # Where it succeeds, nothing is told.
        attempts["run a program"] = lambda: os.execve("/bin/true", ["true"], {})
    came_of = {name: tried(attempt) for name, attempt in attempts.items()}
    no_new_privileges = ctypes.CDLL(None).prctl(39, 0, 0, 0, 0)
    print(json.dumps({"level": confinement.level, **came_of, "no_new": no_new_privileges}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
