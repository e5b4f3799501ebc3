"""
Changes in folders, as Linux reports them: a thin binding of inotify(7).

The kernel queues an event within the system call that makes the change. So whoever empties the
queue has seen every change that was over before.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import struct
import termios
from typing import NamedTuple

MODIFY = 0x2
ATTRIBUTES = 0x4
CLOSED_AFTER_WRITING = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATED = 0x100
DELETED = 0x200
UNMOUNTED = 0x2000
OVERFLOWED = 0x4000
FORGOTTEN = 0x8000
"""The watch is gone: it was taken away, or its folder was."""

NAMES = MOVED_FROM | MOVED_TO | CREATED | DELETED
"""Another thing, or nothing, now goes by the name of the event."""

_DELETED_SELF = 0x400
_MOVED_SELF = 0x800
_ONLY_FOLDERS = 0x1000000
# Closing is watched for the sake of shared mappings: a write into one makes no event, but closing
# the file does.
_MASK = MODIFY | ATTRIBUTES | CLOSED_AFTER_WRITING | NAMES | _DELETED_SELF | _MOVED_SELF
_HEADER = struct.Struct("iIII")


class Event(NamedTuple):
    """One event: the watch it is about, what happened, and the name of the entry or nothing."""

    watch: int
    mask: int
    name: str


class Inotify:
    """A queue of events and the folders they are about."""

    def __init__(self) -> None:
        """Open a queue. Raises OSError where there is none, or no more are allowed."""
        try:
            self._libc = ctypes.CDLL(None, use_errno=True)
            opened: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError:
            msg = "inotify is not there"
            raise OSError(msg) from None
        self.fd = _checked(opened)

    def close(self) -> None:
        """Close the queue, and with it every watch."""
        os.close(self.fd)

    def watch(self, folder_fd: int) -> int:
        """
        Watch an open folder; a folder has the same watch however often it is asked for.

        Raises OSError, with ENOSPC when the system allows no more watches.
        """
        # By its descriptor: a path could lead to another folder by now.
        path = f"/proc/self/fd/{folder_fd}".encode()
        return _checked(self._libc.inotify_add_watch(self.fd, path, _MASK | _ONLY_FOLDERS))

    def forget(self, watch: int) -> None:
        """Watch a folder no longer. It may be gone already."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def queued_bytes(self) -> int:
        """Count the bytes of the events that are queued now."""
        count = array.array("i", [0])
        fcntl.ioctl(self.fd, termios.FIONREAD, count)
        return count[0]

    def read(self, size_bytes: int) -> list[Event]:
        """Take the events of so many bytes, as `queued_bytes` counted them, from the queue."""
        data = os.read(self.fd, size_bytes) if size_bytes else b""
        events = []
        start = 0
        while start < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, start)
            start += _HEADER.size
            name = data[start : start + length].rstrip(b"\0")
            start += length
            events.append(Event(watch, mask, os.fsdecode(name)))
        return events


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
