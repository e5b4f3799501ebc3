"""A number that changes whenever a cache is emptied, the same for all processes that share it."""

from __future__ import annotations

import os
import time
from pathlib import Path

_BYTES = 8
_LARGEST = (1 << 63) - 1


class Generation:
    """
    The number, in a file of eight bytes; in this process only while there is no such file.

    It is read at every look into the cache, so it must not cost a lock or a query. It is not
    mapped into memory either: should anybody cut the file, that would end the process.
    """

    def __init__(self) -> None:
        """Begin without a file."""
        self._fd = -1
        self._own = 1

    def share(self, path: Path) -> None:
        """Go on with the number in a file, which is made if need be. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(fd).st_size != _BYTES:
                # Not a number that was used before: entries of then must not come back.
                _write(fd, time.time_ns())
            if self._fd < 0:
                self._fd = os.dup(fd)
            else:
                # In one step, for a reader in another thread.
                os.dup2(fd, self._fd, inheritable=False)
        finally:
            os.close(fd)

    def now(self) -> int:
        """Answer the number. Costs one system call."""
        if self._fd < 0:
            return self._own
        return int.from_bytes(os.pread(self._fd, _BYTES, 0), "little") & _LARGEST

    def advance(self) -> None:
        """Make everything of before untrue, for all processes. Raises OSError."""
        self._own += 1
        if self._fd >= 0:
            _write(self._fd, max(time.time_ns(), self.now() + 1))

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write(fd: int, number: int) -> None:
    os.pwrite(fd, number.to_bytes(_BYTES, "little"), 0)
