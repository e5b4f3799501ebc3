"""Commands about one file: cat, head, tail, wc and preview."""

from __future__ import annotations

import os
from collections.abc import Iterator

from target_app.sandbox.commands.listing import when
from target_app.sandbox.commands.opened import BINARY_PROBE_BYTES, file, is_binary, refuse_binary
from target_app.sandbox.output import FileTooLargeError, Output, printable
from target_app.sandbox.paths import Opened

CHUNK_BYTES = 64 * 1024
MAX_PREVIEW_LINES = 500


def cat(opened: Opened, output: Output) -> None:
    """Write a whole file; raises FileTooLargeError above the file size limit."""
    fd, status = file(opened)
    if status.st_size > output.limits.file_bytes:
        msg = (
            f"{printable(opened.path)} has {status.st_size} bytes and at most "
            f"{output.limits.file_bytes} may be read whole; use head, tail or grep"
        )
        raise FileTooLargeError(msg)
    write_whole(fd, opened.path, output)


def head(opened: Opened, output: Output, *, lines: int = 10) -> None:
    """Write the first lines of a file, reading no more of it than that needs."""
    fd, _ = file(opened)
    refuse_binary(fd, opened.path)
    write_head(fd, output, lines)


def tail(opened: Opened, output: Output, *, lines: int = 10) -> None:
    """Write the last lines of a file, reading backwards from its end."""
    fd, status = file(opened)
    refuse_binary(fd, opened.path)
    output.raw(read_tail(fd, status.st_size, output, lines))


def wc(opened: Opened, output: Output, *, lines_only: bool = False) -> None:
    """Count the line ends, words and bytes of a file, as wc does."""
    fd, _ = file(opened)
    lines = words = size_bytes = 0
    in_word = False
    for chunk in chunks(fd, output):
        lines += chunk.count(b"\n")
        size_bytes += len(chunk)
        if not lines_only:
            words += len(chunk.split())
            # A word that goes on from the chunk before was counted there.
            words -= in_word and not chunk[:1].isspace()
            in_word = not chunk[-1:].isspace()
    counts = f"{lines}" if lines_only else f"{lines} {words} {size_bytes}"
    output.line(f"{counts} {printable(opened.path)}")


def preview(opened: Opened, output: Output, *, lines: int = 100) -> None:
    """Say what a file is and write its first lines."""
    fd, status = file(opened)
    binary = is_binary(os.pread(fd, BINARY_PROBE_BYTES, 0))
    output.line(f"path: {printable(opened.path)}")
    output.line(f"size: {status.st_size} bytes")
    output.line(f"modified: {when(status)} UTC")
    if binary:
        output.line("lines: none, the file is binary")
        return
    if status.st_size <= output.limits.small_file_bytes:
        count = count_lines(fd, output)
        output.line(f"lines: {count}")
        os.lseek(fd, 0, os.SEEK_SET)
    else:
        output.line("lines: not counted, the file is large")
    output.line("")
    write_head(fd, output, min(lines, MAX_PREVIEW_LINES))


def write_whole(fd: int, path: str, output: Output) -> None:
    """Write all of a text file, up to the file size limit should it have grown just now."""
    refuse_binary(fd, path)
    left = output.limits.file_bytes
    for chunk in chunks(fd, output):
        output.raw(chunk[:left])
        left -= len(chunk)
        if left <= 0:
            return


def write_head(fd: int, output: Output, lines: int, max_bytes: int | None = None) -> int:
    """Write the first lines, at most `max_bytes` of them, and answer how many bytes that were."""
    lines_left = lines
    written = 0
    for piece in chunks(fd, output):
        chunk = piece if max_bytes is None else piece[: max_bytes - written]
        end = _end_of_line(chunk, lines_left)
        output.raw(chunk[:end])
        written += end
        lines_left -= chunk.count(b"\n", 0, end)
        if lines_left == 0 or end < len(piece):
            break
    return written


def _end_of_line(data: bytes, number: int) -> int:
    """Find where the line of that number ends, or the data if there are fewer lines."""
    if data.count(b"\n") < number:
        return len(data)
    end = 0
    for _ in range(number):
        end = data.index(b"\n", end) + 1
    return end


def read_tail(fd: int, size_bytes: int, output: Output, lines: int) -> bytes:
    """Read the last lines of a file, not many more bytes than may be written."""
    start = size_bytes
    pieces: list[bytes] = []
    ends = held = 0
    # The line before the wanted ones must be begun, to know that the first is whole.
    while start > 0 and ends <= lines and held <= output.limits.output_bytes:
        output.check()
        step = min(CHUNK_BYTES, start)
        start -= step
        piece = os.pread(fd, step, start)
        ends += piece.count(b"\n")
        held += len(piece)
        pieces.append(piece)
    data = b"".join(reversed(pieces))
    end = b"\n" if data.endswith(b"\n") else b""
    return b"\n".join(data.removesuffix(b"\n").split(b"\n")[-lines:]) + end


def count_lines(fd: int, output: Output) -> int:
    """Count the lines, the last one too if it has no end."""
    lines = 0
    ended = True
    for chunk in chunks(fd, output):
        lines += chunk.count(b"\n")
        ended = chunk.endswith(b"\n")
    return lines if ended else lines + 1


def chunks(fd: int, output: Output) -> Iterator[bytes]:
    """Yield a file in pieces of bounded size, from where the descriptor stands."""
    while True:
        output.check()
        chunk = os.read(fd, CHUNK_BYTES)
        if not chunk:
            return
        yield chunk
