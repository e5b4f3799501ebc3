"""
The confinement that a process puts on itself, once and for good.

Resource limits and a dropped right to gain privileges hold on every Unix. On Linux, Landlock
adds that the process can open nothing but what lies beneath the data root, and that for reading
only. Sources: landlock(7), prctl(2), setrlimit(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

MAX_OPEN_FILES = 128
"""Enough for a walk as deep as it may be."""


class IsolationLevel(StrEnum):
    """
    How well the commands are kept apart from the rest, the weakest first.

    PATHS: every path is opened beneath the data root, in the process of the app.
    WORKER: in a process of their own too, without environment, with resource limits.
    LANDLOCK: that process can open nothing but what is beneath the data root.
    """

    PATHS = "paths"
    WORKER = "worker"
    LANDLOCK = "landlock"

    def reaches(self, other: IsolationLevel) -> bool:
        """Whether this level is at least as strong as the other."""
        order = list(IsolationLevel)
        return order.index(self) >= order.index(other)


class ConfinementError(Exception):
    """The process could not confine itself; the message says in what."""


_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_READ_FILE = 1 << 2
_READ_DIR = 1 << 3

_KINDS_OF_ACCESS = {1: 13, 2: 14, 3: 15, 5: 16}
"""Since which version of Landlock how many kinds of access to files can be forbidden."""

_VERSION_WITH_NETWORK = 4
_VERSION_WITH_SCOPES = 6
_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    # Packed in the kernel's header, which makes it end earlier but moves no field.
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class Confinement(NamedTuple):
    """How far a process has confined itself, proved; `shortfall` is why not further, or ""."""

    level: IsolationLevel
    shortfall: str


def confine(
    root: Path, *, memory_bytes: int, parent_pid: int, wanted: IsolationLevel
) -> Confinement:
    """
    Confine this process, as far as `wanted` and the system go. It cannot be undone.

    The process is to be small and to have a single thread. Raises ConfinementError when not
    even the limits of a worker hold.
    """
    _limit(memory_bytes)
    if sys.platform == "linux":
        _drop_privileges(parent_pid)
    if wanted is not IsolationLevel.LANDLOCK:
        return Confinement(IsolationLevel.WORKER, "")
    try:
        _shut_in(root)
    except OSError as error:
        return Confinement(IsolationLevel.WORKER, f"no Landlock here: {error.strerror}")
    reachable = what_is_reachable(root)
    if reachable:
        return Confinement(IsolationLevel.WORKER, f"Landlock does not hold: it can {reachable}")
    return Confinement(IsolationLevel.LANDLOCK, "")


def what_is_reachable(root: Path) -> str:
    """
    Try what a process shut in by Landlock must not be able to do, and say what it could do.

    That is to open the folder around the data root, a program or a file of the system, and to
    make a file in the data root.
    """
    for path in (root.parent, Path(sys.executable), Path("/etc/passwd")):
        if path == root or root in path.parents:
            continue
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            continue
        return f"open {path}"
    probe = root / f".sandbox-probe-{os.getpid()}"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError:
        return ""
    probe.unlink()
    return "make files"


def _limit(memory_bytes: int) -> None:
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        # Without effect on the superuser.
        resource.RLIMIT_NPROC: 0,
    }
    for kind, wanted in limits.items():
        _, most = resource.getrlimit(kind)
        limit = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        try:
            resource.setrlimit(kind, (limit, limit))
        except (OSError, ValueError) as error:
            msg = f"resource limits cannot be set: {error}"
            raise ConfinementError(msg) from None


def _drop_privileges(parent_pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        msg = "the parent process is gone"
        raise ConfinementError(msg)
    # Nobody but the superuser may look into its memory.
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        msg = "the right to gain privileges cannot be dropped"
        raise ConfinementError(msg)


def _shut_in(root: Path) -> None:
    """Let Landlock forbid all but reading beneath the root. Raises OSError."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long

    def call(number: int, *arguments: object) -> int:
        result: int = syscall(ctypes.c_long(number), *arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "it is a part of Linux")
    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    kinds = max(count for since, count in _KINDS_OF_ACCESS.items() if since <= version)
    ruleset = _Ruleset(
        handled_access_fs=(1 << kinds) - 1,
        handled_access_net=_TCP if version >= _VERSION_WITH_NETWORK else 0,
        scoped=_ABSTRACT_SOCKETS_AND_SIGNALS if version >= _VERSION_WITH_SCOPES else 0,
    )
    # An older kernel takes what is beyond the fields that it knows, as long as that is zero.
    size = ctypes.c_size_t(ctypes.sizeof(ruleset))
    rules = call(_CREATE_RULESET, ctypes.byref(ruleset), size, ctypes.c_uint32(0))
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rule = _PathBeneath(allowed_access=_READ_FILE | _READ_DIR, parent_fd=fd)
            beneath = ctypes.c_int(_PATH_BENEATH)
            call(_ADD_RULE, ctypes.c_int(rules), beneath, ctypes.byref(rule), ctypes.c_uint32(0))
        finally:
            os.close(fd)
        call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)
