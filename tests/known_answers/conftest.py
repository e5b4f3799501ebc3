"""The whole harness as its users run it: commands in, exit code, words and files out."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What a shell needs, and nothing of the caller's: no keys, no proxies, no options.
PLAIN = {k: os.environ[k] for k in ("PATH", "HOME", "LANG") if k in os.environ}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said on both channels."""

    code: int
    words: str

    @property
    def flat(self) -> str:
        """Its words without the line breaks that a narrow terminal puts in."""
        return " ".join(self.words.split())


class Workspace:
    """A folder that looks like the project to the commands, with reports of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # What runs its commands elsewhere, such as `ip netns exec NAME`.
        self.within: tuple[str, ...] = ()
        self.reports = path / "reports"
        self._started: list[subprocess.Popen[str]] = []
        for name in ("scenarios", "slo.yaml", "prices.yaml"):
            (path / name).symlink_to(ROOT / name)

    def start(
        self, *arguments: str, program: str = "harness", **environment: str
    ) -> subprocess.Popen[str]:
        """Start a command at the head of a process group, as a terminal does."""
        process = subprocess.Popen(
            [*self.within, sys.executable, "-m", program, *arguments],
            cwd=self.path,
            env={**PLAIN, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """End what a failed test left running."""
        for process in self._started:
            if process.returncode is None:
                process.terminate()
                process.communicate(timeout=60)

    def finish(self, process: subprocess.Popen[str], seconds: float = 150) -> Done:
        """Wait for its end; whatever it was asked, it shows no traceback."""
        try:
            words, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            words, _ = process.communicate()
            raise AssertionError(f"it did not end:\n{words}") from None
        assert "Traceback" not in words, words
        return Done(process.returncode, words)

    def run(self, *arguments: str, program: str = "harness", **environment: str) -> Done:
        """Run a command to its end."""
        return self.finish(self.start(*arguments, program=program, **environment))

    def runs(self) -> list[Path]:
        """All runs, oldest first."""
        return sorted(p.parent for p in self.reports.glob("*/run.json") if p.parent.name[0] == "2")


def verdicts(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "verdicts.json").read_text())
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with contextlib.closing(Workspace(tmp_path)) as made:
        yield made


@pytest.fixture
def target() -> Iterator[Callable[..., str]]:
    """Start a known target that does what it is told; gives its address."""
    with contextlib.ExitStack() as running:

        def start(**told: Any) -> str:
            process = running.enter_context(
                subprocess.Popen(
                    [sys.executable, str(HERE / "known_target.py"), json.dumps(told)],
                    env=PLAIN,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            running.callback(process.kill)
            assert process.stdout is not None
            return process.stdout.readline().strip()

        yield start


@pytest.fixture
def chats() -> Callable[[str], int]:
    """Ask a known target how many chats came."""
    return lambda url: int(httpx.get(f"{url}/truth", trust_env=False).json()["chats"])


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Workspace]]:
    """Make a folder for a run that several tests look at."""
    with contextlib.ExitStack() as made:
        yield lambda name: made.enter_context(
            contextlib.closing(Workspace(tmp_path_factory.mktemp(name)))
        )
