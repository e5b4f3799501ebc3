"""
A few confined worker processes that run the commands.

A process is started from a thread and never on the event loop, where a fork would hold up every
chat. A worker that does not answer in time is killed and replaced, and so is one whose caller
left: no call ever gets the answer to another.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from subprocess import Popen
from typing import Any, Self

from target_app.sandbox.confine import IsolationLevel
from target_app.sandbox.frames import Header
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.process import Answer, Link, WorkerDiedError, kill, spawn
from target_app.sandbox.result import BLOCKS, STATUSES, Command, Execution
from target_app.sandbox.run import FAULT_CHARACTERS, failed, not_run, timed_out

_log = logging.getLogger(__name__)

GRACE_SECONDS = 1.0
"""A command ends itself at its deadline; one that has not by then will not."""

DRAIN_SECONDS = 0.25
"""How long the answer to a caller who left is awaited before its worker is killed."""

START_SECONDS = 20.0
"""The longest a worker may take to start, on a busy machine."""


class WorkerStartError(Exception):
    """No worker can be started; the message says why."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: Popen[bytes]
    link: Link
    level: IsolationLevel
    shortfall: str


@dataclass(slots=True, eq=False)
class _Slot:
    """A place for a worker. `filling` is the task that starts one, while it does."""

    worker: _Worker | None = None
    filling: asyncio.Task[None] | None = None
    was_filled: bool = False


@dataclass(slots=True)
class _Question:
    """What a worker is asked. `begun` is when one was, None before; by `time.perf_counter`."""

    header: Header
    begun: float | None = None


class WorkerPool:
    """
    Worker processes confined to one data root, made by `start`.

    `level` is what the weakest of them proved, and `shortfall` why it is not more. `restarts`
    counts the workers that were started in place of another.
    """

    def __init__(
        self,
        root: DataRoot,
        limits: Limits,
        *,
        wanted: IsolationLevel,
        workers: int,
        memory_bytes: int,
    ) -> None:
        self.level = wanted
        self.shortfall = ""
        self.restarts = 0
        self._limits = limits
        self._orders: Header = {
            "root": os.fspath(root.path),
            "limits": dataclasses.asdict(limits),
            "memory_bytes": memory_bytes,
            "parent_pid": os.getpid(),
            "wanted": wanted,
        }
        # A worker dies with the thread that started it, so there is one thread that stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="sandbox-starter")
        self._slots = [_Slot() for _ in range(workers)]
        self._free: asyncio.Queue[_Slot] = asyncio.Queue()
        self._background: set[asyncio.Task[None]] = set()
        self._is_started = False
        self._is_closed = False

    @classmethod
    async def start(
        cls,
        root: DataRoot,
        limits: Limits,
        *,
        wanted: IsolationLevel,
        workers: int,
        memory_bytes: int,
    ) -> Self:
        """Start all workers. Raises WorkerStartError, and then leaves no process behind."""
        pool = cls(root, limits, wanted=wanted, workers=workers, memory_bytes=memory_bytes)
        try:
            for slot in pool._slots:
                pool._fill(slot)
            filling = [slot.filling for slot in pool._slots if slot.filling is not None]
            await asyncio.wait(filling)
        except BaseException:
            await pool.close()
            raise
        faults = [fault for task in filling if (fault := task.exception()) is not None]
        if faults:
            await pool.close()
            raise faults[0]
        for slot in pool._slots:
            pool._free.put_nowait(slot)
        return pool

    async def run(self, command: Command) -> Execution:
        """Run a command in a worker that is free; whatever goes wrong is in the execution."""
        question = _Question(
            {"name": command.name, "path": command.path, "options": dict(command.options)}
        )
        try:
            execution = _execution(*await self._exchange(question))
        except TimeoutError:
            waited = f"{self._limits.timeout_seconds:g} s"
            if question.begun is None:
                return not_run(timed_out(f"waited {waited} for a sandbox process"))
            execution = timed_out(f"stopped after {waited}")
        except WorkerStartError as error:
            return not_run(failed(str(error)))
        except WorkerDiedError:
            execution = failed("the sandbox process died")
        else:
            if execution.fault:
                told = _quoted(execution.fault)
                _log.error("the command %s failed in a sandbox process:\n%s", command.name, told)
            return execution
        if question.begun is None:
            return not_run(execution)
        return dataclasses.replace(execution, seconds=time.perf_counter() - question.begun)

    async def ready(self) -> bool:
        """Whether a command would be run now or, when all workers are busy, later."""
        if self._free.empty():
            return any(slot.worker and slot.worker.link.is_open for slot in self._slots)
        try:
            await self._exchange(_Question({"ping": True}))
        except (TimeoutError, WorkerStartError, WorkerDiedError):
            return False
        return True

    async def close(self) -> None:
        """End all workers and wait until they are gone. Calls in the middle end with an error."""
        self._is_closed = True
        for slot in self._slots:
            if slot.worker is not None:
                self._discard(slot)
        while self._background:
            await asyncio.wait(self._background)
        self._starter.shutdown()

    async def _exchange(self, question: _Question) -> Answer:
        """
        Ask a worker as soon as one is free.

        Raises TimeoutError, WorkerStartError and WorkerDiedError.
        """
        async with asyncio.timeout(self._limits.timeout_seconds):
            slot = await self._free.get()
        try:
            answer = await self._ask(slot, question)
            if answer[0].get("stale"):
                # The data root was replaced by another folder, which that worker cannot open.
                self._discard(slot)
                answer = await self._ask(slot, question)
        except asyncio.CancelledError:
            self._in_background(self._settle(slot))
            raise
        except BaseException:
            self._discard(slot)
            self._free.put_nowait(slot)
            raise
        self._free.put_nowait(slot)
        return answer

    async def _ask(self, slot: _Slot, question: _Question) -> Answer:
        question.begun = None
        if slot.worker is None or not slot.worker.link.is_open:
            self._discard(slot)
            await asyncio.shield(self._fill(slot))
        if slot.worker is None:
            raise WorkerDiedError
        question.begun = time.perf_counter()
        async with asyncio.timeout(self._limits.timeout_seconds + GRACE_SECONDS):
            return await slot.worker.link.ask(question.header)

    async def _settle(self, slot: _Slot) -> None:
        """Give back the place of a caller who left, once its worker owes no answer any more."""
        if slot.filling is not None:
            (filled,), _ = await asyncio.wait((slot.filling,))
            # The next caller will try again, and be told.
            filled.exception()
        elif slot.worker is not None and slot.worker.link.pending is not None:
            _, owed = await asyncio.wait((slot.worker.link.pending,), timeout=DRAIN_SECONDS)
            if owed:
                self._discard(slot)
        self._free.put_nowait(slot)

    def _fill(self, slot: _Slot) -> asyncio.Task[None]:
        """Start a worker, in a task that goes on when the caller who needs it leaves."""
        slot.filling = self._in_background(self._start_worker(slot))
        return slot.filling

    async def _start_worker(self, slot: _Slot) -> None:
        try:
            worker = await self._started()
        finally:
            slot.filling = None
        if slot.was_filled:
            self.restarts += 1
            _log.warning("a sandbox process was started in place of one that ended")
        slot.was_filled = True
        slot.worker = worker
        if self._is_closed:
            self._discard(slot)

    async def _started(self) -> _Worker:
        """Start a process and hear what it proved. Raises WorkerStartError."""
        if self._is_closed:
            msg = "the sandbox is closed"
            raise WorkerStartError(msg)
        loop = asyncio.get_running_loop()
        try:
            process, ours = await loop.run_in_executor(self._starter, spawn)
        except OSError as error:
            msg = f"no sandbox process can be started: {error.strerror}"
            raise WorkerStartError(msg) from None
        link = Link(4 * self._limits.output_bytes + 65536)
        try:
            await loop.create_unix_connection(lambda: link, sock=ours)
            async with asyncio.timeout(START_SECONDS):
                header, _ = await link.ask(self._orders)
            return self._accepted(process, link, header)
        except BaseException as error:
            link.close()
            ours.close()
            await loop.run_in_executor(self._starter, kill, process)
            if isinstance(
                error, TimeoutError | WorkerDiedError | OSError | LookupError | ValueError
            ):
                msg = "the sandbox process did not start"
                raise WorkerStartError(msg) from None
            raise

    def _accepted(self, process: Popen[bytes], link: Link, hello: Header) -> _Worker:
        if "error" in hello:
            msg = f"the sandbox process cannot confine itself: {hello['error']}"
            raise WorkerStartError(msg)
        worker = _Worker(process, link, IsolationLevel(hello["level"]), hello["shortfall"])
        if not worker.level.reaches(self.level):
            if self.restarts or any(slot.was_filled for slot in self._slots):
                msg = f"a new sandbox process reached only {worker.level}: {worker.shortfall}"
                raise WorkerStartError(msg)
            self.level, self.shortfall = worker.level, worker.shortfall
        return worker

    def _discard(self, slot: _Slot) -> None:
        """Empty a place, and kill what was in it in the background."""
        worker, slot.worker = slot.worker, None
        if worker is not None:
            worker.link.close()
            self._in_background(self._killed(worker.process))

    async def _killed(self, process: Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._starter, kill, process)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task


def _execution(header: Header, payload: bytes) -> Execution:
    """Make what a worker answered an execution. Raises WorkerDiedError when it is none."""
    try:
        execution = Execution(stdout=payload.decode(errors="replace"), **header)
    except TypeError:
        raise WorkerDiedError from None
    # Two become metric labels. Nothing is believed just because a worker says so.
    is_one = (
        execution.status in STATUSES
        and execution.blocked in (None, *BLOCKS)
        and isinstance(execution.note, str)
        and isinstance(execution.error, str | None)
        and isinstance(execution.return_code, int)
        and isinstance(execution.lasting, bool)
        and isinstance(execution.seconds, float)
        and execution.seconds >= 0
        and isinstance(execution.opened, str)
        and isinstance(execution.fault, str)
        and execution.ran is True
    )
    if not is_one:
        raise WorkerDiedError
    return execution


def _quoted(fault: str) -> str:
    """Make what a worker says fit for the log: no line of it can be taken for another's."""
    lines = fault[:FAULT_CHARACTERS].strip().split("\n")
    shown = ("".join(c if c.isprintable() else "?" for c in line) for line in lines)
    return "\n".join(f"| {line}" for line in shown)
