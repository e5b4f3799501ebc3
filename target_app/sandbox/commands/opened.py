"""What the commands ask of an opened path before they use it."""

from __future__ import annotations

import os

from target_app.sandbox.output import CommandFailedError, printable
from target_app.sandbox.paths import Opened

BINARY_PROBE_BYTES = 1024
"""A file with a NUL byte in its first kilobyte is not text, as grep judges it."""


def present(opened: Opened) -> tuple[int, os.stat_result]:
    """Return the descriptor and status of a path at which something is."""
    if opened.fd is None or opened.status is None:
        msg = f"{printable(opened.path)}: no such file or folder"
        raise CommandFailedError(msg)
    return opened.fd, opened.status


def file(opened: Opened) -> tuple[int, os.stat_result]:
    """Return the descriptor and status of a path at which a file is."""
    fd, status = present(opened)
    if opened.is_directory:
        msg = f"{printable(opened.path)} is a folder; use ls"
        raise CommandFailedError(msg)
    return fd, status


def folder(opened: Opened) -> int:
    """Return the descriptor of a path at which a folder is."""
    fd, _ = present(opened)
    if not opened.is_directory:
        msg = f"{printable(opened.path)} is a file, not a folder"
        raise CommandFailedError(msg)
    return fd


def is_binary(beginning: bytes) -> bool:
    """Whether a file that begins like this is not text."""
    return b"\0" in beginning[:BINARY_PROBE_BYTES]


def refuse_binary(fd: int, path: str) -> None:
    """Raise CommandFailedError for a file that is not text."""
    if is_binary(os.pread(fd, BINARY_PROBE_BYTES, 0)):
        msg = f"{printable(path)} is a binary file"
        raise CommandFailedError(msg)
