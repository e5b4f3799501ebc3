"""What a confined process can still do, tried out in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from target_app.sandbox import confine as confining
from target_app.sandbox.confine import IsolationLevel, what_is_reachable

PROBE = "tests.target_app.sandbox.confined_probe"


@pytest.fixture
def probe(documents: Path) -> Any:
    """Confine a process to the documents and let it try everything."""

    def run(wanted: IsolationLevel) -> dict[str, Any]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            secret = documents.parent / "secret.txt"
            ended = subprocess.run(
                [sys.executable, "-m", PROBE, str(documents), str(secret), str(port), wanted],
                capture_output=True,
                check=True,
                text=True,
            )
        told: dict[str, Any] = json.loads(ended.stdout)
        return told

    return run


def before_and_after(documents: Path) -> dict[str, str]:
    return {
        str(path.relative_to(documents)): path.read_text() if path.is_file() else ""
        for path in documents.rglob("*")
    }


def test_a_process_shut_in_can_only_read_beneath_the_root(documents: Path, probe: Any) -> None:
    before = before_and_after(documents)

    told = probe(IsolationLevel.LANDLOCK)

    if told["level"] != IsolationLevel.LANDLOCK and os.environ.get("CI") != "true":
        pytest.skip("this kernel has no Landlock")
    assert told["level"] == IsolationLevel.LANDLOCK
    done = {name for name, came_of in told.items() if came_of == "done"}
    # Signals are the one thing that only newer kernels shut off.
    assert done - {"signal the parent", "connect"} == {"read inside", "list inside"}
    assert told["read outside"] == told["list outside"] == "PermissionError"
    assert told["run a program"] == "PermissionError"
    assert before_and_after(documents) == before


def test_a_worker_has_limits_on_every_system(documents: Path, probe: Any) -> None:
    told = probe(IsolationLevel.WORKER)

    assert told["level"] == IsolationLevel.WORKER
    assert told["no_new"] == 1
    assert told["read inside"] == "done"
    assert told["use much memory"] == "MemoryError"
    assert told["open many files"] == "OSError"
    # A file may be made but nothing written into it.
    assert told["write a file"] == "OSError"
    assert (documents / "written").read_text() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is a part of Linux")
def test_new_kernels_shut_off_network_and_signals_too(probe: Any) -> None:
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if release < (6, 12):
        pytest.skip("this kernel is older")
    told = probe(IsolationLevel.LANDLOCK)

    assert told["connect"] == told["signal the parent"] == "PermissionError"


def test_a_process_that_is_not_shut_in_is_found_out(documents: Path) -> None:
    assert what_is_reachable(documents) == f"open {documents.parent}"


def test_that_files_can_be_made_is_found_out_and_cleared_up(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def only_beneath(path: Any, flags: int, mode: int = 0o777) -> int:
        if not str(path).startswith(f"{documents}/"):
            raise PermissionError
        return opened(path, flags, mode)

    monkeypatch.setattr(confining.os, "open", only_beneath)

    assert what_is_reachable(documents) == "make files"
    assert not list(documents.glob(".sandbox*"))


@pytest.mark.parametrize(
    ("level", "other", "reaches"),
    [
        (IsolationLevel.LANDLOCK, IsolationLevel.WORKER, True),
        (IsolationLevel.WORKER, IsolationLevel.WORKER, True),
        (IsolationLevel.PATHS, IsolationLevel.WORKER, False),
        (IsolationLevel.WORKER, IsolationLevel.LANDLOCK, False),
    ],
)
def test_levels_have_an_order(
    level: IsolationLevel, other: IsolationLevel, *, reaches: bool
) -> None:
    assert level.reaches(other) is reaches
