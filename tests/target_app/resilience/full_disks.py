"""Disks that are full for as long as a test wants, in the ways that this machine allows."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil
import pytest

BALLAST = "ballast"
DISK_BYTES = 4 * 1024 * 1024
LARGEST_FILE_BYTES = 4096
"""Less than the smallest database, and more than the app has to log."""


class Disk(Protocol):
    """A folder to be used by one app, and how to fill and free the disk under it."""

    folder: Path

    def fill(self, pid: int) -> None:
        """Leave no room to the process."""

    def free(self, pid: int) -> None:
        """Give the room back."""


class SmallDisk:
    """A file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / BALLAST

    def fill(self, pid: int) -> None:
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    def free(self, pid: int) -> None:
        self._ballast.unlink()


class SmallFiles:
    """A limit on the size of the files that the process may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = (0, 0)

    def fill(self, pid: int) -> None:
        process = psutil.Process(pid)
        self._before = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, self._before[1]))

    def free(self, pid: int) -> None:
        psutil.Process(pid).rlimit(psutil.RLIMIT_FSIZE, self._before)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a small file system, or skip the test where that is not allowed."""
    kind = ["-t", "tmpfs", "-o", f"size={DISK_BYTES},{options}"]
    command = ["mount", *kind, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Make a small file system."""
    with mounted(folder, "rw"):
        yield SmallDisk(folder)


@contextmanager
def small_files(folder: Path) -> Iterator[Disk]:
    """Keep files small, which is possible everywhere."""
    yield SmallFiles(folder)


@contextmanager
def unwritable(folder: Path) -> Iterator[Callable[[], object]]:
    """Let nobody write into an empty folder until what is answered is called."""
    if os.geteuid() == 0:
        # The superuser may write everywhere but on a disk that is read-only.
        with mounted(folder, "ro"):
            remount = ["mount", "-o", "remount,rw", str(folder)]
            yield lambda: subprocess.run(remount, check=True)
    else:
        folder.chmod(0o500)
        yield lambda: folder.chmod(0o700)


WAYS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Disk]]] = {
    "the disk is full": small_disk,
    "files may not grow": small_files,
}
