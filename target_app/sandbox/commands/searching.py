"""Commands that search text: grep, and scan for the routes that stream what is found."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass

from target_app.sandbox.commands.lines import Hit, LineSearch, Pattern, compile_pattern
from target_app.sandbox.commands.opened import file, present, refuse_binary
from target_app.sandbox.output import CommandFailedError, Output, printable
from target_app.sandbox.paths import MAX_DEPTH, Found, Opened, open_beneath, walk


def grep(
    opened: Opened,
    output: Output,
    *,
    pattern: str,
    regex: bool = False,
    ignore_case: bool = False,
    recursive: bool = True,
) -> None:
    """
    Write `path:line number:line` for every line that matches.

    The pattern is a fixed string, or a regular expression in RE2 syntax. In a folder, binary
    files are passed over, and files above the size limit, of which the note says how many.
    """
    fd, status = present(opened)
    compiled = compile_pattern(pattern, regex=regex, ignore_case=ignore_case)
    if not opened.is_directory:
        search = LineSearch(fd, compiled, output, status.st_size)
        _write_hits(search, opened.path)
        if search.is_binary:
            output.remark(f"{printable(opened.path)} is a binary file")
        return
    depth = MAX_DEPTH if recursive else 1
    for found in walk(fd, opened.path, depth=depth, left_out=output.pass_over):
        output.check()
        if found.entry.is_file(follow_symlinks=False):
            _search_found(found, compiled, output)


def _search_found(found: Found, pattern: Pattern, output: Output) -> None:
    fd = open_beneath(found)
    if fd is None:
        output.pass_over("files that could not be opened")
        return
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return
        if status.st_size > output.limits.file_bytes:
            output.pass_over(f"files above {output.limits.file_bytes} bytes")
            return
        whole = None
        if status.st_size < pattern.block_bytes:
            whole = os.read(fd, status.st_size + 1)
            # Most files hold no match, and one search of the whole tells.
            if not pattern.is_in(whole):
                return
        _write_hits(LineSearch(fd, pattern, output, status.st_size), found.path, whole)
    finally:
        os.close(fd)


def _write_hits(search: LineSearch, path: str, whole: bytes | None = None) -> None:
    prefix = b""
    for hit in search.hits(whole=whole):
        prefix = prefix or printable(path).encode() + b":"
        search.output.line(b"%s%d:%s" % (prefix, hit.number, hit.text))


@dataclass(frozen=True, slots=True)
class _Step:
    """Where a streamed search goes on."""

    offset: int
    number: int


def scan(
    opened: Opened,
    output: Output,
    *,
    pattern: str,
    regex: bool = True,
    ignore_case: bool = False,
    offset: int = 0,
    line_number: int = 1,
    max_bytes: int = 1024 * 1024,
    max_matches: int = 100,
) -> None:
    """
    Search one file for one step, from a byte offset that an earlier step answered.

    Writes JSON lines: for every matching line `line_number`, `line_content`, and where in that
    its first match is (`match_start`, `match_end`, in characters); last of all `next_offset`,
    `next_line_number`, `size_bytes` and whether this was the `end`. A step ends after about
    `max_bytes`, after `max_matches`, or when the output is half full.
    """
    fd, status = file(opened)
    compiled = compile_pattern(pattern, regex=regex, ignore_case=ignore_case)
    if offset < 0 or line_number < 1 or max_bytes < 1 or max_matches < 1:
        msg = "a step begins in the file, and reads and answers something"
        raise CommandFailedError(msg)
    refuse_binary(fd, opened.path)
    os.lseek(fd, offset, os.SEEK_SET)
    search = LineSearch(fd, compiled, output, status.st_size, offset, line_number)
    step = None
    for matches, hit in enumerate(search.hits(max_bytes), start=1):
        output.line(json.dumps(_described(hit), ensure_ascii=False))
        if matches >= max_matches or output.size_bytes > output.limits.output_bytes // 2:
            step = _Step(hit.next_offset, hit.next_number)
            break
    step = step or _Step(search.offset, search.number)
    size = os.fstat(fd).st_size
    last = {
        "next_offset": step.offset,
        "next_line_number": step.number,
        "size_bytes": size,
        "end": step.offset >= size,
    }
    output.line(json.dumps(last))


def _described(hit: Hit) -> dict[str, int | str]:
    before = hit.text[: hit.start].decode(errors="replace")
    found = hit.text[hit.start : hit.end].decode(errors="replace")
    return {
        "line_number": hit.number,
        "line_content": before + found + hit.text[hit.end :].decode(errors="replace"),
        "match_start": len(before),
        "match_end": len(before) + len(found),
    }
