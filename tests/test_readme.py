"""README is a tour: its commands, in order, do what it says."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parent.parent
# What a command must exit with, where that is not 0; README says why.
EXIT_CODES = {
    "harness benchmark warm_cache --fault metrics-lie": 3,
    "harness judge reports/latest --slo slo.yaml": 3,  # of the run with the lying server
}
# The first is run, for less long, by known_answers/test_benchmark.py; this very test is part of the second.
IN_FULL_ELSEWHERE = ("make benchmark", "make test")
# Shorter loads than a reader's, and still long enough: the judged ones need 59 requests to decide.
SHORTER = {
    "--fault metrics-lie": "--fault metrics-lie --duration 12s",
    "-u 6 -r 6 -t 30s": "-u 12 -r 12 -t 12s",
    "harness run warm_cache --host http://127.0.0.1:8000 --duration 20s": (
        "harness run warm_cache --host http://127.0.0.1:8000 --duration 4s"
    ),
    "--duration 20s": "--duration 16s",
}
STACK = 'make stack ARGS="--port 8000"'
APP = "DATA_ROOT_PATH=docs OPENAI_API_KEY=sk-yours python -m target_app"


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def shorter(command: str) -> str:
    """Write a command with the load that suffices here."""
    for part, instead in SHORTER.items():
        if part in command:
            return command.replace(part, instead)
    return command


def test_every_load_of_the_tour_is_shortened() -> None:
    assert {part for part in SHORTER if not any(part in line for line in commands())} == set()
    loads = [line for line in commands() if re.match(r"harness (run|benchmark)|locust", line)]
    assert [line for line in loads if shorter(line) == line] == []


@pytest.fixture
def environment() -> dict[str, str]:
    """An activated virtual environment: what `. .venv/bin/activate` gives."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path}


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Tour:
    """Runs commands as a reader would, with the stack in a terminal of its own."""

    def __init__(self, environment: dict[str, str], port: int) -> None:
        self.environment = environment
        self.port = port
        self.stack: subprocess.Popen[str] | None = None

    def run(self, command: str) -> None:
        here = shorter(command).replace("8000", str(self.port))
        if command == STACK:
            self.start_stack(here)
            return
        if command == APP:
            self.stop_stack()
            self.start_app(here)
            return
        done = subprocess.run(
            here, shell=True, cwd=ROOT, env=self.environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == EXIT_CODES.get(command, 0), f"{command}\n{said}"
        assert "Traceback" not in said, f"{command}\n{said}"

    def start_stack(self, command: str) -> None:
        self.stack = subprocess.Popen(
            shlex.split(command), cwd=ROOT, env=self.environment, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        assert self.stack.stdout
        for line in self.stack.stdout:
            if "Ctrl-C stops it" in line:
                return
        pytest.fail(f"{command} ended by itself")

    def start_app(self, command: str) -> None:
        # Where the app listens without it, 8000, may be taken on this machine.
        environment = {**self.environment, "PORT": str(self.port)}
        self.stack = subprocess.Popen(
            f"exec env {command}", shell=True, cwd=ROOT, env=environment,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert self.stack.stderr
        for line in self.stack.stderr:
            if "Uvicorn running" in line:
                health = httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=10)
                assert health.json()["status"] == "healthy"
                return
        pytest.fail(f"{command} ended by itself")

    def stop_stack(self) -> None:
        if self.stack and self.stack.poll() is None:
            os.killpg(self.stack.pid, signal.SIGINT)
            self.stack.wait(timeout=30)
        for pipe in (self.stack.stdout, self.stack.stderr) if self.stack else ():
            if pipe:
                pipe.close()


@pytest.fixture
def tour(environment: dict[str, str], port: int) -> Iterator[Tour]:
    guide = Tour(environment, port)
    yield guide
    guide.stop_stack()


@pytest.mark.whole
@pytest.mark.timeout(600)
def test_the_commands_of_the_readme_work_in_order(tour, environment):
    started = time.time()

    for command in commands():
        if command in IN_FULL_ELSEWHERE:
            target = command.split()[1]
            subprocess.run(["make", "-n", target], cwd=ROOT, env=environment, check=True)
        elif not command.startswith(". "):
            tour.run(command)

    latest = ROOT / "reports/latest"
    assert (latest / "report.html").stat().st_mtime > started
    assert json.loads((latest / "run.json").read_text())["expected_windows"] == ["my_app"]
