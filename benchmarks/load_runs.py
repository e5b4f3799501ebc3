"""Runs of the load engine against scripted targets: commands in, run directories out."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from scripted_target import Truth
from servers import BESIDE, SYSTEM

from harness.distribution import Distribution
from harness.model import Outcome, Sample
from harness.runs import HistogramKey, RunDirectory, WindowRecord

ROOT = BESIDE.parent
SCENARIOS = BESIDE / "load_scenarios"
PLAIN = BESIDE / "plain_locust.py"
EVENLY_RATE = "EVENLY_RATE"
"""The variable that gives the scenario `evenly` another rate than 100 requests a second."""
STOP_SECONDS = 60.0
TALK_SECONDS = 10.0
POLL_SECONDS = 0.02
NOTHING_MORE: Mapping[str, str] = {}
WORDS = 3000
"""Characters of a failed command's words that are shown."""


@dataclass(frozen=True, slots=True)
class ScriptedTarget:
    """A scripted target that is up."""

    port: int
    process: psutil.Popen

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def chats(self) -> int:
        """Count the chats that came since it was last asked for the truth."""
        return int(self._get("/chats"))

    def truth(self) -> Truth:
        """Take its log; it begins another."""
        fields = json.loads(self._get("/truth"))
        return Truth(
            fields["chats"],
            fields["first"],
            [(trace_id, came, answered) for trace_id, came, answered in fields["answered"]],
            [(begin, end) for begin, end in fields["freezes"]],
        )

    def _get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TALK_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()


@contextmanager
def scripted_target(kind: str, core: int | None = None) -> Iterator[ScriptedTarget]:
    """Start a target of some kind, on one core if told which."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "target.log"
        process = start([sys.executable, str(BESIDE / "scripted_target.py"), kind], log, core=core)
        try:
            yield ScriptedTarget(_port(process, log), process)
        finally:
            stop(process)


def _port(process: psutil.Popen, log: Path) -> int:
    """Wait for its first line; raises RuntimeError with its words when it ended."""
    while not log.read_text().endswith("\n"):
        if process.poll() is not None:
            raise RuntimeError(f"the target did not start:\n{last_words(log)}")
        time.sleep(POLL_SECONDS)
    return int(log.read_text())


def start(
    command: Sequence[str],
    log: Path,
    *,
    core: int | None = None,
    folder: Path = ROOT,
    environment: Mapping[str, str] = NOTHING_MORE,
) -> psutil.Popen:
    """Start a command with the least environment and some more; its words go to the log."""
    with log.open("wb") as words:
        process = psutil.Popen(
            command,
            cwd=folder,
            env={**SYSTEM, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    if core is not None:
        process.cpu_affinity([core])
    return process


def stop(process: psutil.Popen) -> None:
    """End a process that has nothing more to say."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()


def last_words(log: Path) -> str:
    """Give the end of what a command said."""
    return log.read_text(errors="replace")[-WORDS:]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A run that is over: when it was asked for, and what it wrote."""

    asked: float
    directory: RunDirectory
    window: WindowRecord
    log: str

    @property
    def samples(self) -> list[Sample]:
        """A row for each request."""
        return self.directory.read_samples(self.window.window.name)

    @property
    def histograms(self) -> dict[HistogramKey, Distribution]:
        """All that the run kept of them."""
        return self.directory.read_histograms(self.window.window.name)

    def times(self, time: str) -> Distribution:
        """Give the histogram of one time of the requests that were answered."""
        (found,) = [
            distribution
            for key, distribution in self.histograms.items()
            if key.time == time and key.outcome is Outcome.OK
        ]
        return found


def command_of(scenario: str, url: str, reports: Path, seconds: float, *more: str) -> list[str]:
    """Write the command that a user would give."""
    return [
        sys.executable, "-m", "harness", "run", scenario, "--host", url,
        "--scenarios", str(SCENARIOS), "--slo", str(BESIDE / "load_slo.yaml"),
        "--prices", str(ROOT / "prices.yaml"), "--reports", str(reports),
        "--duration", f"{seconds:g}s", *more,
    ]  # fmt: skip


def run_load(
    scenario: str,
    target: ScriptedTarget,
    reports: Path,
    seconds: float,
    *more: str,
    environment: Mapping[str, str] = NOTHING_MORE,
) -> Loaded:
    """Send a scenario's load for so long; raises RuntimeError with its words when it fails."""
    reports.mkdir(parents=True, exist_ok=True)
    words = reports / "words.log"
    asked = time.time()
    command = command_of(scenario, target.url, reports, seconds, *more)
    process = start(command, words, environment=environment)
    if process.wait():
        raise RuntimeError(f"harness run {scenario} failed:\n{last_words(words)}")
    directory = RunDirectory((reports / "latest").resolve())
    window = directory.read_window(scenario)
    log = (directory.logs / f"locust-{scenario}.log").read_text(errors="replace")
    return Loaded(asked, directory, window, log)


def run_plain(user: str, target: ScriptedTarget, folder: Path, users: int, seconds: float) -> str:
    """Run a user of plain Locust for so long; gives its words."""
    words = folder / f"{user}.log"
    command = [*plain_command(user, target.url, users), "--run-time", f"{seconds:g}s"]
    start(command, words).wait()
    return words.read_text(errors="replace")


def plain_command(user: str, url: str, users: int) -> list[str]:
    """Write the command that runs a user of plain Locust until it is stopped."""
    return [
        sys.executable, "-m", "locust", "-f", str(PLAIN), user, "--headless", "--host", url,
        "--users", str(users), "--spawn-rate", str(users), "--only-summary",
    ]  # fmt: skip
