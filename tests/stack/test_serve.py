"""One app on a socket that its parent holds: served, skewed, and ended with its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

ROOT = Path(__file__).parents[2]
APP = "served_app:create_app"
ENVIRONMENT = {"PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}


def about(url: str) -> dict[str, float]:
    answer: dict[str, float] = httpx.get(f"{url}/about", timeout=30, trust_env=False).json()
    return answer


@contextlib.contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.stack.serve", APP, "--fd", str(listening.fileno()),
             *options],
            env=ENVIRONMENT,
            pass_fds=(listening.fileno(),),
        )  # fmt: skip
    with process:
        yield process, url
        process.kill()


def test_it_serves_on_the_socket_it_was_given_and_ends_when_told() -> None:
    with serving() as (process, url):
        # Connections wait in the socket's own queue until the app is there.
        assert about(url)["pid"] == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in {0, -signal.SIGTERM}
        with pytest.raises(httpx.ConnectError):
            about(url)


@pytest.mark.parametrize("rate", [1.0, 1.2, 0.5])
def test_a_clock_rate_makes_every_duration_wrong_by_its_factor(rate: float) -> None:
    with serving("--clock-rate", str(rate)) as (_, url):
        assert about(url)["rate"] == pytest.approx(rate, rel=0.05)


def test_it_ends_with_its_parent_however_that_dies() -> None:
    script = (
        "import socket, subprocess, sys, time\n"
        "s = socket.create_server(('127.0.0.1', 0))\n"
        f"p = subprocess.Popen([sys.executable, '-m', 'harness.stack.serve', {APP!r},"
        " '--fd', str(s.fileno())], pass_fds=(s.fileno(),), stdout=subprocess.DEVNULL)\n"
        "print(p.pid, s.getsockname()[1], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, port = parent.stdout.readline().split()
        assert about(f"http://127.0.0.1:{port}")["pid"] == int(pid)
        child = psutil.Process(int(pid))
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=30)
    assert gone == [child] or child.status() == psutil.STATUS_ZOMBIE
