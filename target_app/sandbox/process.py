"""One worker process as the app sees it: started, asked, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import cast

import re2  # type: ignore[import-untyped]

import target_app
from target_app.sandbox.frames import BrokenFrameError, FrameReader, Header, frame

_INTERPRETER = (sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c")
"""
Isolated mode takes neither the environment nor user files into account, and without `site` the
process starts in half the time.
"""

_PROGRAM = "import sys; fd, *sys.path[:0] = sys.argv[1:]; \
from target_app.sandbox.worker import main; main(int(fd))"

_SEARCHED = tuple(
    dict.fromkeys(
        str(Path(cast("str", module.__file__)).resolve().parent.parent)
        for module in (target_app, re2)
    )
)
"""Where a worker finds what it imports beside the standard library."""

_REAP_SECONDS = 5.0
"""A process that does not even die of SIGKILL hangs in a file system, and is left behind."""

Answer = tuple[Header, bytes]


class WorkerDiedError(Exception):
    """The worker process ended, or answered what is no answer."""


def spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """
    Start a worker process and answer it with the app's end of its link. Blocks.

    Raises OSError.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter, a fixed program
                (*_INTERPRETER, _PROGRAM, str(theirs.fileno()), *_SEARCHED),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    ours.setblocking(False)
    return process, ours


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker with whatever it may have started, and wait until it is gone. Blocks."""
    # Until it is waited for, the number belongs to it.
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_REAP_SECONDS)


class Link(asyncio.Protocol):
    """
    The app's end of the socket to a worker: one question at a time, one answer to each.

    An answer nobody waits for any more is still awaited by `pending`, so that it cannot be
    taken for the answer to a later question.
    """

    def __init__(self, max_answer_bytes: int) -> None:
        self._reader = FrameReader(max_answer_bytes)
        self._transport: asyncio.WriteTransport | None = None
        self.pending: asyncio.Future[Answer] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; called by the event loop."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Take a piece of an answer; called by the event loop."""
        try:
            answer = self._reader.feed(data)
        except BrokenFrameError:
            self.close()
            return
        if answer is None:
            return
        if self.pending is None or self.pending.done():
            # Nothing was asked.
            self.close()
        else:
            self.pending.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the question that is open; called by the event loop."""
        del exc
        self.is_open = False
        if self.pending is not None and not self.pending.done():
            self.pending.set_exception(WorkerDiedError())
            # Nobody may be waiting for it any more.
            self.pending.exception()

    async def ask(self, question: Header) -> Answer:
        """Send a question and wait for the answer. Raises WorkerDiedError."""
        if self._transport is None or not self.is_open:
            raise WorkerDiedError
        self.pending = asyncio.get_running_loop().create_future()
        self._transport.write(frame(question))
        return await asyncio.shield(self.pending)

    def close(self) -> None:
        """Close the link, at which the worker ends by itself."""
        if self._transport is not None:
            self._transport.abort()
