"""Lines on their way to standard error: a bounded queue, and one thread that may be held up."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

MAX_LINES = 10_000
MAX_BYTES = 8 * 1024 * 1024
"""What may wait. A reader of the log who is further behind misses lines."""

_AT_A_TIME_BYTES = 64 * 1024
_GATHER_SECONDS = 0.02
"""How long a line may wait for others: waking the thread costs more than making the line."""

Result = Literal["written", "dropped"]
Count = Callable[[Result, int, int], None]
"""Hears what became of lines: how many, and how many bytes they have."""


def to_stderr(data: bytes) -> None:
    """
    Write to standard error, for as long as it takes. Raises OSError when nobody can read it.

    Past Python's own buffer: its lock, held by a thread that is stuck, would stop the process
    from ending.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, io.UnsupportedOperation):
        # Something else stands in for it, as in a test.
        if sys.stderr is not None:
            sys.stderr.write(data.decode(errors="replace"))
        return
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [])


class LineWriter:
    """Takes lines from any thread and never keeps one waiting; counts what it must drop."""

    def __init__(
        self,
        write: Callable[[bytes], None] = to_stderr,
        *,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Hand pieces of whole lines to `write`, which may block, in a thread of its own."""
        self.count: Count = _uncounted
        self._write = write
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._flushing = 0
        self._is_stuck = False
        self._thread: threading.Thread | None = None

    def put(self, line: bytes) -> None:
        """Queue a line, which ends with a line feed, or drop it when too much is waiting."""
        with self._changed:
            fits = (
                len(self._waiting) < self._max_lines and self._bytes + len(line) <= self._max_bytes
            )
            if fits:
                self._waiting.append(line)
                self._bytes += len(line)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                    self._thread.start()
                elif len(self._waiting) == 1:
                    self._changed.notify_all()
        if not fits:
            self.count("dropped", 1, len(line))

    def flush(self, timeout_seconds: float) -> bool:
        """
        Wait until all lines are written, no longer than `timeout_seconds`; say if they are.

        When that was in vain once, it is not waited again until something was written.
        """
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            timeout = 0 if self._is_stuck else timeout_seconds
            written = self._changed.wait_for(lambda: not self._bytes, timeout)
            self._is_stuck = not written
            self._flushing -= 1
        return written

    def _run(self) -> None:
        while True:
            lines = self._next()
            data = b"".join(lines)
            try:
                self._write(data)
            except (OSError, ValueError):
                # Nobody reads it any more: that must not be a reason to stop.
                self.count("dropped", len(lines), len(data))
            else:
                self.count("written", len(lines), len(data))
            with self._changed:
                self._bytes -= len(data)
                self._is_stuck = False
                self._changed.notify_all()

    def _next(self) -> list[bytes]:
        """Take what is there, but not more than a moment's work."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            self._changed.wait_for(lambda: self._flushing, _GATHER_SECONDS)
            lines = [self._waiting.popleft()]
            size = len(lines[0])
            while self._waiting and size + len(self._waiting[0]) <= _AT_A_TIME_BYTES:
                lines.append(self._waiting.popleft())
                size += len(lines[-1])
            return lines


def _uncounted(_: Result, __: int, ___: int) -> None:
    """Count nothing, before there are metrics."""
