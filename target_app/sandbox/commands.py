"""
The six filesystem commands, in pure Python: no process is ever started.

Each takes what `DataRoot.open` authorised and writes into an `Output`, which stops it at the
output limit and at the deadline. Commands block, so they run in worker threads.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from target_app.sandbox.paths import MAX_DEPTH, Found, Opened, open_beneath, walk

CHUNK_BYTES = 64 * 1024
BINARY_PROBE_BYTES = 1024
"""A file with a NUL byte in its first kilobyte is not text, as grep judges it."""


class CommandFailedError(Exception):
    """A command cannot do what was asked; the message is for the LLM to read."""


class CommandTimeoutError(Exception):
    """A command ran past its deadline."""


class FileTooLargeError(Exception):
    """A file is larger than may be read whole."""


class OutputFullError(Exception):
    """The output limit was reached; what was written so far stands."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a command may read and write, in bytes, and for how many seconds."""

    output_bytes: int
    file_bytes: int
    timeout_seconds: float


@dataclass(slots=True)
class Output:
    """What a command has written, within its limits."""

    limits: Limits
    deadline: float
    lines: list[bytes] = field(default_factory=list)
    size_bytes: int = 0

    @classmethod
    def start(cls, limits: Limits) -> Output:
        """Begin a command now."""
        return cls(limits, time.monotonic() + limits.timeout_seconds)

    def check(self) -> None:
        """Raise CommandTimeoutError if the deadline has passed."""
        if time.monotonic() >= self.deadline:
            msg = f"stopped after {self.limits.timeout_seconds:g} s"
            raise CommandTimeoutError(msg)

    def line(self, text: str) -> None:
        """Write one line; raises OutputFullError after writing what still fitted of it."""
        # A name that is not UTF-8 reaches Python as surrogates, which no JSON can carry.
        line = text.encode(errors="replace")
        room = self.limits.output_bytes - self.size_bytes
        self.size_bytes += len(line) + 1
        self.lines.append(line[:room])
        if len(line) > room:
            raise OutputFullError

    def text(self) -> str:
        """Everything written, a line break between the lines."""
        return b"\n".join(self.lines).decode(errors="ignore")


def ls(opened: Opened, output: Output, *, hidden: bool = False, details: bool = False) -> None:
    """List a folder, one name a line, folders marked by a slash and links by an at sign."""
    fd, _ = _present(opened)
    if not opened.is_directory:
        output.line(opened.path)
        return
    for found in walk(fd, opened.path, depth=1):
        output.check()
        name = found.entry.name
        if name.startswith(".") and not hidden:
            continue
        if found.entry.is_symlink():
            name += "@"
        elif found.entry.is_dir(follow_symlinks=False):
            name += "/"
        output.line(f"{_details(found)}  {name}" if details else name)


def find(
    opened: Opened,
    output: Output,
    *,
    name_pattern: str = "*",
    kind: Literal["f", "d"] | None = None,
) -> None:
    """List the paths whose last name fits a shell pattern; no path is an answer too."""
    fd, _ = _present(opened)
    matches = re.compile(fnmatch.translate(name_pattern)).match
    if not opened.is_directory:
        if kind != "d" and matches(opened.path.rpartition("/")[2]):
            output.line(opened.path)
        return
    for found in walk(fd, opened.path):
        output.check()
        entry = found.entry
        if kind == "f" and not entry.is_file(follow_symlinks=False):
            continue
        if kind == "d" and not entry.is_dir(follow_symlinks=False):
            continue
        if matches(entry.name):
            output.line(found.path)


def grep(
    opened: Opened,
    output: Output,
    *,
    literals: tuple[str, ...],
    ignore_case: bool = False,
    recursive: bool = True,
) -> None:
    """
    Write `path:line number:line` for every line holding one of the literals.

    Binary files and files above the size limit are passed over. Searching for literals only
    takes time linear in the text, whatever the LLM asks for.
    """
    fd, status = _present(opened)
    pattern = re.compile(
        "|".join(re.escape(literal) for literal in literals),
        re.IGNORECASE if ignore_case else 0,
    )
    needles = () if ignore_case else tuple(literal.encode() for literal in literals)

    def search(path: str, file_fd: int, size_bytes: int) -> None:
        data = _whole(file_fd, size_bytes, output)
        if b"\0" in data[:BINARY_PROBE_BYTES]:
            return
        if needles and not any(needle in data for needle in needles):
            return
        text = data.decode(errors="replace")
        for number, line in enumerate(text.split("\n"), start=1):
            if pattern.search(line):
                output.line(f"{path}:{number}:{line}")

    if opened.is_directory:
        _search_files(walk(fd, opened.path, depth=MAX_DEPTH if recursive else 1), output, search)
    else:
        search(opened.path, fd, status.st_size)


def _search_files(
    entries: Iterator[Found], output: Output, search: Callable[[str, int, int], None]
) -> None:
    """Open every file met on a walk that is not too large, and search it."""
    for found in entries:
        output.check()
        if not found.entry.is_file(follow_symlinks=False):
            continue
        file_fd = open_beneath(found)
        if file_fd is None:
            continue
        try:
            status = os.fstat(file_fd)
            if stat.S_ISREG(status.st_mode) and status.st_size <= output.limits.file_bytes:
                search(found.path, file_fd, status.st_size)
        finally:
            os.close(file_fd)


def cat(opened: Opened, output: Output) -> None:
    """Write a whole file; raises FileTooLargeError above the file size limit."""
    fd, status = _file(opened)
    if status.st_size > output.limits.file_bytes:
        msg = (
            f"{opened.path} has {status.st_size} bytes and at most "
            f"{output.limits.file_bytes} may be read whole; use head, tail or grep"
        )
        raise FileTooLargeError(msg)
    _write_lines(_whole(fd, status.st_size, output), opened.path, output)


def head(opened: Opened, output: Output, *, lines: int = 10) -> None:
    """Write the first lines of a file, reading no more of it than that needs."""
    fd, _ = _file(opened)
    data = b""
    # One byte above the limit is enough to notice that the output was cut.
    while data.count(b"\n") < lines and len(data) <= output.limits.output_bytes:
        output.check()
        chunk = os.read(fd, CHUNK_BYTES)
        if not chunk:
            break
        data += chunk
    _write_lines(b"\n".join(data.split(b"\n")[:lines]), opened.path, output)


def tail(opened: Opened, output: Output, *, lines: int = 10) -> None:
    """Write the last lines of a file, reading backwards from its end."""
    fd, status = _file(opened)
    start = status.st_size
    data = b""
    # The line before the wanted ones must be begun, to know that the first is whole.
    while start > 0 and data.count(b"\n") <= lines and len(data) <= output.limits.output_bytes:
        output.check()
        step = min(CHUNK_BYTES, start)
        start -= step
        data = os.pread(fd, step, start) + data
    wanted = data.removesuffix(b"\n").split(b"\n")[-lines:]
    _write_lines(b"\n".join(wanted), opened.path, output)


def _present(opened: Opened) -> tuple[int, os.stat_result]:
    """Return the descriptor and status of a path at which something is."""
    if opened.fd is None or opened.status is None:
        msg = f"{opened.path}: no such file or folder"
        raise CommandFailedError(msg)
    return opened.fd, opened.status


def _file(opened: Opened) -> tuple[int, os.stat_result]:
    """Return the descriptor and status of a path at which a file is."""
    fd, status = _present(opened)
    if opened.is_directory:
        msg = f"{opened.path} is a folder; use ls"
        raise CommandFailedError(msg)
    return fd, status


def _whole(fd: int, size_bytes: int, output: Output) -> bytes:
    """Read a file up to the file size limit, even if it grew since it was measured."""
    chunks = []
    left = output.limits.file_bytes
    # One byte more than there should be: a file is at its end when less comes than was asked.
    ask = min(left, size_bytes + 1)
    while ask > 0:
        output.check()
        chunk = os.read(fd, ask)
        chunks.append(chunk)
        left -= len(chunk)
        if len(chunk) < ask:
            break
        ask = min(left, 16 * CHUNK_BYTES)
    return b"".join(chunks)


def _write_lines(data: bytes, path: str, output: Output) -> None:
    if b"\0" in data[:BINARY_PROBE_BYTES]:
        msg = f"{path} is a binary file"
        raise CommandFailedError(msg)
    for line in data.decode(errors="replace").removesuffix("\n").split("\n"):
        output.line(line)


def _details(found: Found) -> str:
    """Size in bytes and time of the last change, in UTC."""
    status = found.entry.stat(follow_symlinks=False)
    changed = datetime.fromtimestamp(status.st_mtime, tz=UTC)
    return f"{status.st_size:>12}  {changed:%Y-%m-%d %H:%M}"
