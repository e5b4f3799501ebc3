"""
The system call `openat2`, which Python does not offer: a whole path opened beneath a folder.

One call resolves all components in the kernel and follows nothing, neither links nor the magic
links of /proc, nor leaves the folder. Source: openat2(2), Linux 5.6 or later.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import sys

_NUMBER = 437
"""The same on every architecture that Linux has added system calls to since 2019."""

_MACHINES = frozenset({"x86_64", "aarch64"})
_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08
_RESOLVE = _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW_BYTES = ctypes.sizeof(_OpenHow)

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
)


_hows: dict[int, tuple[_OpenHow, int]] = {}
"""What the call is told, by the flags of open(2), and the address it is told from."""


def open_beneath_folder(folder_fd: int, path: bytes, flags: int) -> int:
    """Open a relative path beneath a folder, following no link. Raises OSError."""
    how = _hows.get(flags)
    if how is None:
        structure = _OpenHow(flags, 0, _RESOLVE)
        how = _hows[flags] = (structure, ctypes.addressof(structure))
    while True:
        fd: int = _syscall(_NUMBER, folder_fd, path, how[1], _HOW_BYTES)
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


@functools.cache
def is_available() -> bool:
    """Whether the kernel has the call and lets this process use it."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        return False
    here = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_beneath_folder(here, b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        os.close(here)
    return True
