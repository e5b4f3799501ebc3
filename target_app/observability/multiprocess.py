"""
Several workers, one set of metrics: the directory in which they count together.

`prometheus_client` decides when it is imported whether it counts in memory or in the files of
PROMETHEUS_MULTIPROC_DIR. So a process that is one of several workers must know the directory
before that, which `target_app/__init__.py` sees to; and nothing here may import the library.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PATTERN = "*_*.db"


def join_workers() -> None:
    """
    Have this process count with its siblings, if it was started by a process for several.

    A directory that the operator set is used as it is. Raises OSError when there can be none.
    """
    if not _is_worker():
        return
    chosen = os.environ.get(VARIABLE)
    directory = _directory_of(os.getppid()) if chosen is None else Path(chosen)
    directory.mkdir(mode=0o700, exist_ok=True)
    os.environ[VARIABLE] = str(directory)
    # Of a process that had this number before.
    for file in directory.glob(f"gauge_live*_{os.getpid()}.db"):
        file.unlink(missing_ok=True)


def _is_worker() -> bool:
    """Whether this process was started by multiprocessing, as servers start their workers."""
    # The second holds while a process that was just started loads what its parent had loaded.
    return multiprocessing.parent_process() is not None or hasattr(
        multiprocessing.current_process(), "_inheriting"
    )


@contextmanager
def shared_by_workers() -> Iterator[None]:
    """
    Have the processes that are started in the block count together, from zero.

    The directory goes when the block ends. One that the operator set is emptied first, and
    stays.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        empty(Path(chosen))
        yield
        return
    directory = _directory_of(os.getpid())
    directory.mkdir(mode=0o700)
    os.environ[VARIABLE] = str(directory)
    try:
        yield
    finally:
        del os.environ[VARIABLE]
        shutil.rmtree(directory, ignore_errors=True)


def empty(directory: Path) -> None:
    """Remove what earlier processes counted: it would be added to what these count."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in directory.glob(PATTERN):
        file.unlink(missing_ok=True)


def live_workers(directory: Path) -> list[psutil.Process]:
    """Find the siblings that count in `directory`, this process among them, and still run."""
    parent = os.getppid()
    pids = {int(pid) for file in directory.glob(PATTERN) if (pid := _pid_of(file)).isdigit()}
    return [process for pid in sorted(pids) if (process := _running(pid, parent)) is not None]


def forget_dead(directory: Path, live: list[psutil.Process]) -> None:
    """
    Remove the gauges of workers that ended: what they held, they hold no more.

    What they counted stays counted.
    """
    pids = {str(process.pid) for process in live}
    for file in directory.glob("gauge_live*_*.db"):
        if _pid_of(file) not in pids:
            file.unlink(missing_ok=True)


def _pid_of(file: Path) -> str:
    return file.stem.rpartition("_")[2]


def _running(pid: int, parent: int) -> psutil.Process | None:
    """Answer a process, if it is a child of `parent` that did not end."""
    try:
        process = psutil.Process(pid)
        is_running = process.ppid() == parent and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if is_running else None


def _directory_of(parent: int) -> Path:
    """Name the directory for the children of a process; those of processes that ended go."""
    ours = _directory_of_user()
    for directory in ours.iterdir():
        pid, _, began = directory.name.partition("-")
        if pid.isdigit() and began != _began(int(pid)):
            shutil.rmtree(directory, ignore_errors=True)
    return ours / f"{parent}-{_began(parent)}"


def _directory_of_user() -> Path:
    """
    Make the directory that holds the others, for this user alone.

    Its name can be foreseen: one that somebody else made is refused with PermissionError.
    """
    directory = Path(tempfile.gettempdir(), f"target-app-metrics-{os.getuid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o777 != 0o700 or directory.is_symlink():
        raise PermissionError(
            f"{directory} is not only this user's: remove it, or set {VARIABLE} to another"
        )
    return directory


def _began(pid: int) -> str:
    """
    Tell when a process began, the same each time it is asked; "" when there is none.

    By the kernel's own count where it can be read: the time of day is set now and then.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[19]
    except OSError:
        pass
    try:
        return str(int(psutil.Process(pid).create_time()))
    except psutil.NoSuchProcess:
        return ""
