"""Taking what the app would write to standard error."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import structlog

from target_app.observability import logs
from target_app.observability.line_writer import LineWriter

Lines = Callable[[], list[str]]


@contextmanager
def captured_logs() -> Iterator[Lines]:
    """Hand out a function that answers all lines so far; put logging back as it was."""
    taken: list[bytes] = []
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    unraisable = sys.unraisablehook
    # Of an earlier test: logging would take them to be captured still.
    logging.captureWarnings(False)

    def lines() -> list[str]:
        assert logs.flush_logs(10)
        return b"".join(taken).decode().splitlines()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_WRITER", LineWriter(taken.append))
        yield lines
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    sys.unraisablehook = unraisable
    logging.captureWarnings(False)
    structlog.reset_defaults()
