"""A lock that processes share (flock), waited for no longer than is good."""

from __future__ import annotations

import fcntl
import time

_PAUSE_SECONDS = 0.005


def lock_file(fd: int, timeout_seconds: float) -> None:
    """
    Lock an open file or folder for this descriptor alone. Blocks.

    Any program that may open it can hold the lock for ever, so it is not waited for without end:
    raises TimeoutError. Raises OSError where the file system has no such lock.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            time.sleep(_PAUSE_SECONDS)
        else:
            return
