"""smart_read: a file read in the way that suits its size."""

from __future__ import annotations

from target_app.sandbox.commands.lines import LineSearch, compile_pattern
from target_app.sandbox.commands.opened import file, refuse_binary
from target_app.sandbox.commands.reading import read_tail, write_head, write_whole
from target_app.sandbox.output import Output
from target_app.sandbox.paths import Opened


def smart_read(
    opened: Opened, output: Output, *, query: str | None = None, max_lines: int = 100
) -> None:
    """
    Read a file in the way that suits its size; the note says in which.

    A small file is read whole. A medium one is searched for the query, a fixed string in either
    case. Of a larger one, or without a query, the beginning and the end are read.
    """
    fd, status = file(opened)
    size = status.st_size
    if size < output.limits.small_file_bytes:
        write_whole(fd, opened.path, output)
        output.remark(f"whole file, {size} bytes")
        return
    refuse_binary(fd, opened.path)
    if query is not None and size <= output.limits.medium_file_bytes:
        _write_matching(fd, size, output, query, max_lines)
    else:
        _write_ends(fd, size, output, max_lines)


def _write_matching(fd: int, size: int, output: Output, query: str, max_lines: int) -> None:
    pattern = compile_pattern(query, regex=False, ignore_case=True)
    matches = 0
    for hit in LineSearch(fd, pattern, output, size).hits():
        if matches == max_lines:
            output.remark(f"there are more than {max_lines}")
            break
        output.line(b"%d:%s" % (hit.number, hit.text))
        matches += 1
    output.notes.insert(0, f"the {matches} lines holding the query, of a file of {size} bytes")


def _write_ends(fd: int, size: int, output: Output, max_lines: int) -> None:
    lines = max(1, max_lines // 2)
    # Half of the output for either end, with some room for what stands between them.
    half = max(1, output.limits.output_bytes // 2 - 50)
    last = read_tail(fd, size, output, lines)[-half:]
    written = write_head(fd, output, lines, half)
    last = last[-max(0, size - written) :] if written < size else b""
    left_out = size - written - len(last)
    if left_out > 0:
        output.line(f"[{left_out} bytes left out]")
    output.raw(last)
    output.remark(f"the beginning and the end, of a file of {size} bytes")
