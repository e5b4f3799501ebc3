"""
How many requests one core can send: the harness's user against Locust's own.

Both stay up, on the same core, with the target on the other; while one runs the other is stopped
by SIGSTOP. So they take turns in short blocks, A B B A, without a start between them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop
from accuracy import spread
from closed_loop import ask_for, post
from figures import Figures
from load_runs import (
    SCENARIOS,
    ScriptedTarget,
    last_words,
    plain_command,
    scripted_target,
    start,
    stop,
)

USERS = 32
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One load in one block: requests a second, and processor time of one (seconds)."""

    rate: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Turns:
    """Both in two blocks side by side."""

    ours: Turn
    bare: Turn


def cores() -> tuple[int, int]:
    """Choose a core for the client and one for the server; the same where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def measure_saturation(folder: Path, seconds: float, pairs: int) -> Figures:
    """Compare requests a second of both, in pairs of blocks of so many seconds."""
    core, server_core = cores()
    with (
        scripted_target("instant", server_core) as target,
        _saturating(_ours(target.url), target, core, folder / "ours") as ours,
        _saturating(_bare(target.url), target, core, folder / "bare") as bare,
    ):
        raw = _raw_rate(target, seconds, core)
        turns = []
        for number in range(pairs):
            order = (ours, bare) if number % 2 == 0 else (bare, ours)
            took = {load.pid: _turn(load, target, seconds) for load in order}
            turns.append(Turns(took[ours.pid], took[bare.pid]))
    return {
        **spread("rps_ratio", [turn.ours.rate / turn.bare.rate for turn in turns]),
        **spread("rps_cpu_ratio", [t.bare.cpu_seconds / t.ours.cpu_seconds for t in turns]),
        **spread("ours_rps", [turn.ours.rate for turn in turns]),
        **spread("bare_rps", [turn.bare.rate for turn in turns]),
        **spread("ours_cpu_us", [turn.ours.cpu_seconds * 1e6 for turn in turns]),
        **spread("bare_cpu_us", [turn.bare.cpu_seconds * 1e6 for turn in turns]),
        "server_headroom": raw / max(max(turn.ours.rate, turn.bare.rate) for turn in turns),
    }


def _bare(url: str) -> list[str]:
    return plain_command("Saturating", url, USERS)


def _ours(url: str) -> list[str]:
    return [
        sys.executable, "-m", "locust", "-f", str(SCENARIOS / "saturating.py"), "--headless",
        "--host", url, "--users", str(USERS), "--spawn-rate", str(USERS), "--only-summary",
    ]  # fmt: skip


@contextmanager
def _saturating(
    command: list[str], target: ScriptedTarget, core: int, folder: Path
) -> Iterator[psutil.Popen]:
    """Start a load, wait until it has sent something, and stop it until its turn comes."""
    folder.mkdir()
    log = folder / "load.log"
    process = start(command, log, core=core, folder=folder)
    try:
        _wait_for_chats(process, target, log)
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        if process.is_running():
            process.send_signal(signal.SIGCONT)
        stop(process)


def _wait_for_chats(process: psutil.Popen, target: ScriptedTarget, log: Path) -> None:
    enough = target.chats() + 10 * USERS
    deadline = time.monotonic() + READY_SECONDS
    while target.chats() < enough:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"a load sends nothing:\n{last_words(log)}")
        time.sleep(0.1)


def _turn(load: psutil.Popen, target: ScriptedTarget, seconds: float) -> Turn:
    # What the load does once a second for the requests of its last turn, it does in this one.
    began, chats, cpu = time.perf_counter(), target.chats(), _cpu(load)
    load.send_signal(signal.SIGCONT)
    time.sleep(seconds)
    elapsed, chats, cpu = time.perf_counter() - began, target.chats() - chats, _cpu(load) - cpu
    load.send_signal(signal.SIGSTOP)
    return Turn(chats / elapsed, cpu / max(1, chats))


def _cpu(load: psutil.Popen) -> float:
    times = load.cpu_times()
    return float(times.user + times.system)


def _raw_rate(target: ScriptedTarget, seconds: float, core: int) -> float:
    """How quickly the target answers a client that does next to nothing, on the loads' core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        block = uvloop.run(
            ask_for(target.port, post("/api/chat", b'{"message": "How long?"}'), USERS, seconds)
        )
    finally:
        os.sched_setaffinity(0, allowed)
    return block.rate
