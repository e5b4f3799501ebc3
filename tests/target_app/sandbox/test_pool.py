"""The workers: each call gets its own answer, whatever becomes of the process that gives it."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from target_app.sandbox import pool as pools
from target_app.sandbox import process as processes
from target_app.sandbox.confine import IsolationLevel
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.pool import WorkerPool, WorkerStartError
from target_app.sandbox.result import Command
from tests.target_app.sandbox.conftest import ROOMY

pytestmark = pytest.mark.anyio

MEMORY_BYTES = 512 * 1024 * 1024
SHORT = Limits(100_000, 100_000, 0.2)


on_both_loops = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ],
)


@asynccontextmanager
async def started(
    documents: Path, limits: Limits = ROOMY, *, workers: int = 1, **more: Any
) -> AsyncIterator[WorkerPool]:
    chosen = {"wanted": IsolationLevel.LANDLOCK, "memory_bytes": MEMORY_BYTES, **more}
    pool = await WorkerPool.start(DataRoot(documents), limits, workers=workers, **chosen)
    try:
        yield pool
    finally:
        await pool.close()


def pids(pool: WorkerPool) -> list[int]:
    return [slot.worker.process.pid for slot in pool._slots if slot.worker is not None]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop go on until something has happened."""
    while not condition():  # noqa: ASYNC110  # a process tells nobody
        await asyncio.sleep(0)


def answer_always(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Put a program in place of the worker that answers this, whatever it is asked."""
    monkeypatch.setattr(
        processes,
        "_PROGRAM",
        "import socket, sys; fd, *sys.path[:0] = sys.argv[1:]; "
        "from target_app.sandbox.frames import FrameReader, frame, receive; "
        "link = socket.socket(fileno=int(fd)); reader = FrameReader(0); receive(link, reader); "
        "link.sendall(frame({'level': 'landlock', 'shortfall': ''})); receive(link, reader); "
        f"link.sendall({answer}); receive(link, reader)",
    )


def cat(path: str) -> Command:
    return Command("cat", path, {})


@on_both_loops
async def test_every_call_gets_its_own_answer(documents: Path) -> None:
    for number in range(40):
        (documents / f"{number}.txt").write_text(f"{number}" * 2000)

    async with started(documents, workers=2) as pool:
        executions = await asyncio.gather(*(pool.run(cat(f"{n}.txt")) for n in range(40)))

    assert [execution.stdout for execution in executions] == [f"{n}" * 2000 for n in range(40)]
    assert pool.restarts == 0


@on_both_loops
async def test_a_large_answer_comes_whole(documents: Path) -> None:
    text = "Größe " * 200_000
    (documents / "large").write_text(text)

    async with started(documents, Limits(2_000_000, 2_000_000, 30)) as pool:
        assert (await pool.run(cat("large"))).stdout == text


async def test_a_worker_that_does_not_answer_is_killed_and_replaced(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "GRACE_SECONDS", 0.1)
    async with started(documents, SHORT) as pool:
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)

        execution = await pool.run(cat("readme.md"))
        again = await pool.run(cat("readme.md"))

        assert (execution.status, execution.return_code) == ("timeout", 124)
        assert (execution.error, execution.lasting) == ("stopped after 0.2 s", False)
        assert execution.seconds >= 0.2
        assert again.stdout == "alpha\nbeta\ngamma"
        assert pids(pool) != [pid]
        assert pool.restarts == 1


@on_both_loops
async def test_a_worker_that_dies_during_a_call_is_replaced(documents: Path) -> None:
    async with started(documents) as pool:
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)
        call = asyncio.create_task(pool.run(cat("readme.md")))
        await until(pool._free.empty)
        os.kill(pid, signal.SIGKILL)

        execution = await call

        assert (execution.status, execution.error) == ("error", "the sandbox process died")
        assert not execution.lasting
        assert (await pool.run(cat("readme.md"))).status == "success"
        assert pool.restarts == 1


async def test_a_worker_that_died_between_calls_is_not_noticed(documents: Path) -> None:
    async with started(documents) as pool:
        (slot,) = pool._slots
        assert slot.worker is not None
        os.kill(slot.worker.process.pid, signal.SIGKILL)
        link = slot.worker.link
        await until(lambda: not link.is_open)

        assert (await pool.run(cat("readme.md"))).status == "success"
        assert pool.restarts == 1


@on_both_loops
async def test_a_caller_who_leaves_leaves_no_answer_behind(documents: Path) -> None:
    async with started(documents) as pool:
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)
        call = asyncio.create_task(pool.run(cat("teams/red.txt")))
        await until(pool._free.empty)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        os.kill(pid, signal.SIGCONT)

        assert (await pool.run(cat("readme.md"))).stdout == "alpha\nbeta\ngamma"
        assert pids(pool) == [pid]


async def test_the_worker_of_a_caller_who_left_is_not_waited_for_long(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "DRAIN_SECONDS", 0.01)
    async with started(documents) as pool:
        (pid,) = pids(pool)
        os.kill(pid, signal.SIGSTOP)
        call = asyncio.create_task(pool.run(cat("teams/red.txt")))
        await until(pool._free.empty)
        call.cancel()

        assert (await pool.run(cat("readme.md"))).stdout == "alpha\nbeta\ngamma"
        assert pool.restarts == 1
        assert not psutil.pid_exists(pid)


async def test_a_caller_who_leaves_while_a_worker_starts_leaves_it_to_the_next(
    documents: Path,
) -> None:
    async with started(documents) as pool:
        (slot,) = pool._slots
        pool._discard(slot)
        call = asyncio.create_task(pool.run(cat("teams/red.txt")))
        await until(lambda: slot.filling is not None)
        call.cancel()

        assert (await pool.run(cat("readme.md"))).stdout == "alpha\nbeta\ngamma"
        assert pool.restarts == 1


async def test_a_call_that_waits_too_long_for_a_worker_gives_up(documents: Path) -> None:
    async with started(documents, SHORT) as pool:
        taken = pool._free.get_nowait()

        execution = await pool.run(cat("readme.md"))

        pool._free.put_nowait(taken)
        assert (execution.status, execution.error) == (
            "timeout",
            "waited 0.2 s for a sandbox process",
        )
        assert (execution.ran, execution.seconds) == (False, 0.0)


async def test_the_wait_for_a_worker_is_not_the_time_of_the_command(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "GRACE_SECONDS", 0.1)
    async with started(documents, SHORT) as pool:
        os.kill(pids(pool)[0], signal.SIGSTOP)
        taken = pool._free.get_nowait()
        ahead = 0.0
        real = time.perf_counter
        monkeypatch.setattr(time, "perf_counter", lambda: real() + ahead)
        call = asyncio.create_task(pool.run(cat("readme.md")))
        await asyncio.sleep(0)
        ahead = 1000.0
        pool._free.put_nowait(taken)

        execution = await call

    assert (execution.status, execution.ran) == ("timeout", True)
    assert 0.2 <= execution.seconds < 1000


async def test_a_fault_in_a_worker_is_logged_with_its_place(
    documents: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(documents) as pool:
        execution = await pool.run(Command("cat", "readme.md", {"no_such_option": 1}))

    (record,) = caplog.records
    assert execution.error == "the command cat failed"
    first, *rest = record.getMessage().split("\n")
    assert first == "the command cat failed in a sandbox process:"
    assert rest[0] == "| Traceback (most recent call last):"
    assert any(line.startswith("|   File ") and "run.py" in line for line in rest)
    assert "unexpected keyword argument" in rest[-1]


async def test_what_a_worker_tells_of_a_fault_cannot_forge_the_log(
    documents: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = r"frame({'status': 'error', 'fault': 'a\nINFO forged\r\x1b[2J\u2028b' + 'x' * 99999})"
    answer_always(monkeypatch, told)

    async with started(documents) as pool:
        assert (await pool.run(cat("readme.md"))).status == "error"

    (record,) = caplog.records
    _, *rest = record.getMessage().split("\n")
    assert [line[:20] for line in rest] == ["| a", "| INFO forged??[2J?b"]
    assert len(record.getMessage()) < 10_000


async def test_too_little_memory_is_an_answer(documents: Path) -> None:
    with (documents / "large").open("wb") as file:
        file.write(b"x" * 2000)
        file.truncate(200_000_000)
    limits = Limits(300_000_000, 300_000_000, 30)

    async with started(documents, limits, memory_bytes=64 * 1024 * 1024) as pool:
        (pid,) = pids(pool)
        execution = await pool.run(cat("large"))

        assert execution.error == "the command needs more memory than it may use"
        assert (await pool.run(cat("readme.md"))).status == "success"
        assert pids(pool) == [pid]


def make_again(documents: Path) -> None:
    documents.mkdir()
    (documents / "readme.md").write_text("new")


async def test_workers_follow_a_data_root_that_was_replaced(documents: Path) -> None:
    async with started(documents) as pool:
        shutil.rmtree(documents)

        gone = await pool.run(cat("readme.md"))

        make_again(documents)
        back = await pool.run(cat("readme.md"))

        assert (gone.error, gone.lasting) == ("the folder of documents is gone", False)
        assert back.stdout == "new"
        assert pool.restarts == 1
        assert pool.level == IsolationLevel.LANDLOCK or not os.environ.get("CI")


async def test_a_worker_has_no_environment(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "canary")
    monkeypatch.setattr(
        processes,
        "_PROGRAM",
        "import os, socket, sys; fd, *sys.path[:0] = sys.argv[1:]; "
        "from target_app.sandbox.frames import FrameReader, frame, receive; "
        "link = socket.socket(fileno=int(fd)); reader = FrameReader(0); receive(link, reader); "
        "link.sendall(frame({'level': 'worker', 'shortfall': repr(dict(os.environ))})); "
        "receive(link, reader)",
    )

    async with started(documents) as pool:
        assert pool.shortfall == repr({"LC_ALL": "C.UTF-8"})


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("b'no frame at all'", id="no frame"),
        pytest.param("frame({'status': 'success'}) * 2", id="two answers"),
        pytest.param("frame({'unheard': 'of'})", id="an answer that is none"),
        pytest.param("frame({'status': 'fine'})", id="a status there is not"),
        pytest.param("frame({'status': 'error', 'blocked': 'x'})", id="a rule there is not"),
        pytest.param("frame({'status': 'error', 'blocked': ['x']})", id="no rule at all"),
        pytest.param("frame({'status': 'error', 'error': {}})", id="a reason that is no text"),
        pytest.param("frame({'status': 'error', 'fault': 1})", id="a fault that is no text"),
        pytest.param("frame({'status': 'error', 'ran': False})", id="an answer without a run"),
        pytest.param("frame({'status': 'error', 'seconds': -1.0})", id="less than no time"),
        pytest.param(
            "frame({'status': 'error', 'seconds': float('nan')})", id="a time that is no number"
        ),
        pytest.param("frame({'status': 'success'}, b'x' * 600_000)", id="an endless answer"),
    ],
)
async def test_a_worker_that_talks_nonsense_is_no_danger(
    documents: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    answer_always(monkeypatch, answer)

    async with started(documents) as pool:
        execution = await pool.run(cat("readme.md"))

    assert (execution.status, execution.error) == ("error", "the sandbox process died")


async def test_the_workers_are_asked_whether_they_are_ready(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(documents) as pool:
        assert await pool.ready()
        taken = pool._free.get_nowait()
        assert await pool.ready()
        pool._free.put_nowait(taken)

        def refused() -> Any:
            raise OSError(11, "Resource temporarily unavailable")

        monkeypatch.setattr(pools, "spawn", refused)
        pool._discard(taken)

        execution = await pool.run(cat("readme.md"))

        assert not await pool.ready()
        assert execution.error == (
            "no sandbox process can be started: Resource temporarily unavailable"
        )
        monkeypatch.undo()
        assert await pool.ready()
        assert (await pool.run(cat("readme.md"))).status == "success"


async def test_a_new_worker_must_not_be_weaker(documents: Path) -> None:
    async with started(documents) as pool:
        if pool.level != IsolationLevel.LANDLOCK:
            assert not os.environ.get("CI")
            pytest.skip("this kernel has no Landlock")
        pool._orders["wanted"] = IsolationLevel.WORKER
        pool._discard(pool._slots[0])

        execution = await pool.run(cat("readme.md"))

        assert execution.error == "a new sandbox process reached only worker: "


def open_descriptors() -> Counter[str]:
    """What is open, but for what garbage holds."""
    gc.collect()
    with os.scandir("/proc/self/fd") as listing:
        return Counter(str(Path(entry.path).readlink()) for entry in listing)


@on_both_loops
async def test_nothing_is_left_when_it_is_closed(documents: Path) -> None:
    # A loop keeps a descriptor of its own once it has seen a socket.
    async with started(documents):
        pass
    before = open_descriptors()
    async with started(documents, workers=2) as pool:
        running = pids(pool)
        os.kill(running[0], signal.SIGSTOP)
        os.kill(running[1], signal.SIGSTOP)
        calls = [asyncio.create_task(pool.run(cat("readme.md"))) for _ in range(3)]
        await until(pool._free.empty)

    assert {(await call).status for call in calls} == {"error"}
    assert (await pool.run(cat("readme.md"))).error == "the sandbox is closed"
    assert not await pool.ready()
    assert len(running) == 2
    assert not any(psutil.pid_exists(pid) for pid in running)
    del pool, calls
    assert open_descriptors() == before


@pytest.mark.parametrize("failing", [1, 2])
async def test_a_start_that_fails_half_way_leaves_nothing(
    documents: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    made: list[subprocess.Popen[bytes]] = []
    root = DataRoot(documents)
    before = open_descriptors()

    def some() -> Any:
        if len(made) + 1 == failing:
            raise OSError(12, "Cannot allocate memory")
        made.append((spawned := processes.spawn())[0])
        return spawned

    monkeypatch.setattr(pools, "spawn", some)

    with pytest.raises(WorkerStartError, match="Cannot allocate memory"):
        await WorkerPool.start(
            root, ROOMY, wanted=IsolationLevel.WORKER, workers=2, memory_bytes=MEMORY_BYTES
        )

    assert [process.returncode for process in made] == [-signal.SIGKILL] * (failing - 1)
    assert open_descriptors() == before


async def test_a_start_that_is_cancelled_leaves_nothing(documents: Path) -> None:
    children = set(psutil.Process().children())
    start = asyncio.create_task(
        WorkerPool.start(
            DataRoot(documents),
            ROOMY,
            wanted=IsolationLevel.WORKER,
            workers=2,
            memory_bytes=MEMORY_BYTES,
        )
    )
    await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start

    assert set(psutil.Process().children()) == children


async def test_a_root_that_is_gone_at_the_start_is_named(documents: Path) -> None:
    root = DataRoot(documents)
    shutil.rmtree(documents)

    with pytest.raises(WorkerStartError, match="cannot confine itself: No such file"):
        await WorkerPool.start(
            root, ROOMY, wanted=IsolationLevel.WORKER, workers=1, memory_bytes=MEMORY_BYTES
        )


PARENT = """
import asyncio, pathlib, sys
from target_app.sandbox.confine import IsolationLevel
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.pool import WorkerPool

async def main():
    root = DataRoot(pathlib.Path(sys.argv[1]))
    pool = await WorkerPool.start(
        root, Limits(1, 1, 1), wanted=IsolationLevel.LANDLOCK, workers=2, memory_bytes=512 << 20
    )
    print(*(slot.worker.process.pid for slot in pool._slots), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_workers_die_with_the_app(documents: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(documents)], stdout=subprocess.PIPE, text=True
    ) as app:
        assert app.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in app.stdout.readline().split()]
        app.kill()

    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert alive == []
