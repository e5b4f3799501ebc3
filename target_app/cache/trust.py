"""Where reports of changes can be relied upon: on which file systems, and until what happens."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
"""Becomes ready for `select.POLLPRI` whenever something is mounted or unmounted."""

REPORTING = {
    0xEF53: "ext",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0xF2F52010: "f2fs",
    0x2FC12FC1: "zfs",
    0xCA451A4E: "bcachefs",
    0x3153464A: "jfs",
    0x794C7630: "overlay",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x73717368: "squashfs",
    0xE0F5E1E2: "erofs",
}
"""File systems by the number statfs(2) gives them that only this machine's kernel writes to."""

_STATFS_BYTES = 512


def is_reporting(folder: Path) -> bool:
    """Whether the kernel sees every change of the files in a folder. Raises OSError."""
    statfs = getattr(ctypes.CDLL(None, use_errno=True), "statfs", None)
    if statfs is None or not MOUNTS.exists():
        return False
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if statfs(os.fsencode(folder), answer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(folder))
    kind = ctypes.c_long.from_buffer(answer).value & 0xFFFFFFFF
    return kind in REPORTING
