"""
Searching the lines of one file with RE2, in time linear in the text and in bounded memory.

RE2 never backtracks, so no pattern is catastrophic; what it needs grows with the size of the
compiled pattern, which is bounded, and blocks are the smaller the larger it is. So the deadline
is looked at several times a second whatever is searched for. It is also several times faster
on a file than `bytes.find`, and lets go of the interpreter while it searches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import re2  # type: ignore[import-untyped]

from target_app.sandbox.commands.opened import is_binary
from target_app.sandbox.output import CommandFailedError, Output

MAX_PATTERN_CHARACTERS = 1000
MAX_LINE_BYTES = 2000
"""Of a longer line only the part around the match is shown."""

CONTEXT_BYTES = 200
"""How much of a long line is shown before the match."""

_MAX_MEMORY_BYTES = 1024 * 1024
_MIN_BLOCK_BYTES = 4096
_MAX_BLOCK_BYTES = 1024 * 1024
_STEPS_PER_BLOCK = 50_000_000
"""At worst RE2 takes one step, some 10 ns, for each byte and each instruction of the pattern."""

_BY_LINES = "(?m)"
"""Lets ^ and $ be the beginning and the end of a line."""

_TEXT_ANCHOR = re.compile(r"(?<!\\)(?:\\\\)*\\[Az]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern, and how many bytes are searched at a time."""

    compiled: Any
    block_bytes: int

    def is_in(self, text: bytes) -> bool:
        """Whether a text that is no longer than a block matches anywhere."""
        return self.compiled.search(text) is not None


class Hit(NamedTuple):
    """
    A line that matches.

    `text` is the line or, if that is long, an excerpt; `start` and `end` are where in it the
    first match is, in bytes. `next_offset` and `next_number` are where the search goes on.
    """

    number: int
    text: bytes
    start: int
    end: int
    next_offset: int
    next_number: int


def compile_pattern(pattern: str, *, regex: bool, ignore_case: bool) -> Pattern:
    """Compile a regular expression or a fixed string. Raises CommandFailedError."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        msg = f"a pattern has at most {MAX_PATTERN_CHARACTERS} characters"
        raise CommandFailedError(msg)
    if "\n" in pattern:
        msg = "a pattern must be on one line"
        raise CommandFailedError(msg)
    if regex and _TEXT_ANCHOR.search(pattern):
        msg = r"\A and \z are not supported, because lines are searched; use ^ and $"
        raise CommandFailedError(msg)
    options = re2.Options()
    options.literal = not regex
    options.case_sensitive = not ignore_case
    options.never_nl = True
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _MAX_MEMORY_BYTES
    try:
        compiled = re2.compile(((_BY_LINES if regex else "") + pattern).encode(), options)
    except UnicodeEncodeError:
        msg = "a pattern must be text that UTF-8 can write"
        raise CommandFailedError(msg) from None
    except re2.error as error:
        fault = error.args[0] if error.args else "not understood"
        shown = fault.decode(errors="replace") if isinstance(fault, bytes) else str(fault)
        msg = f"bad regular expression: {shown.replace(_BY_LINES, '', 1)}"
        raise CommandFailedError(msg) from None
    block = _STEPS_PER_BLOCK // max(1, compiled.programsize)
    return Pattern(compiled, max(_MIN_BLOCK_BYTES, min(block, _MAX_BLOCK_BYTES)))


@dataclass(slots=True)
class LineSearch:
    """
    A search through one file, line by line, from where its descriptor stands.

    `offset` and `number` say which line is searched next, once a block is done. A line longer
    than a block is searched in pieces, and yielded once. A binary file is not searched.
    """

    fd: int
    pattern: Pattern
    output: Output
    size_bytes: int
    offset: int = 0
    first_number: int = 1
    is_binary: bool = False
    was_hit: bool = False
    """Whether the line that the last block left unfinished was yielded already."""
    uncounted: bytes = b""
    """The last block, whose lines are counted only if somebody wants to know."""

    @property
    def number(self) -> int:
        """The number of the line at the offset."""
        self.first_number += self.uncounted.count(b"\n")
        self.uncounted = b""
        return self.first_number

    def hits(self, max_bytes: int | None = None, whole: bytes | None = None) -> Iterator[Hit]:
        """
        Yield the matching lines; stop after the block in which `max_bytes` is reached.

        `whole` is the text of the file if it was read already.
        """
        stop = None if max_bytes is None else self.offset + max_bytes
        blocks = self._blocks(max_bytes or _MAX_BLOCK_BYTES) if whole is None else (whole,)
        for block in blocks:
            if self.offset == 0 and is_binary(block):
                self.is_binary = True
                return
            base, first_number = self.offset, self.number
            yield from self._in_block(block, base, first_number)
            self.offset, self.first_number, self.uncounted = base + len(block), first_number, block
            if stop is not None and self.offset >= stop:
                return

    def _blocks(self, at_most: int) -> Iterator[bytes]:
        """Read the file in blocks that end where a line does, but for lines that are too long."""
        size = min(self.pattern.block_bytes, max(at_most, _MIN_BLOCK_BYTES))
        ask = min(size, self.size_bytes + 1)
        rest = b""
        while True:
            self.output.check()
            chunk = os.read(self.fd, ask)
            if len(chunk) < ask:
                # A regular file gives less than it was asked for only at its end.
                if rest or chunk:
                    yield rest + chunk
                return
            cut = chunk.rfind(b"\n") + 1
            if cut:
                yield rest + chunk[:cut]
                rest = chunk[cut:]
            else:
                rest += chunk
            if len(rest) >= size:
                yield rest
                rest = b""
            ask = size

    def _in_block(self, block: bytes, base: int, number: int) -> Iterator[Hit]:
        search = self.pattern.compiled.search
        size = len(block)
        position = counted = 0
        unfinished_hit = self.was_hit and b"\n" not in block
        if self.was_hit:
            # The rest of a long line of which a piece matched already.
            position = block.find(b"\n") + 1 or size
        while position < size and (match := search(block, position)) is not None:
            start, end = match.span()
            if start == size and block.endswith(b"\n"):
                # After the last line break there is no line.
                break
            self.output.check()
            line = block.rfind(b"\n", position, start) + 1 or position
            after = block.find(b"\n", end)
            ends = after >= 0
            if not ends:
                after = size
                unfinished_hit = True
            number += block.count(b"\n", counted, line)
            counted = line
            position = after + 1
            if after - line <= MAX_LINE_BYTES:
                text = block[line:after].removesuffix(b"\r")
            else:
                text, line = self._excerpt(block, line, after, start)
            first, last = start - line, min(end - line, len(text))
            yield Hit(number, text, first, last, base + after + ends, number + ends)
        self.was_hit = unfinished_hit

    def _excerpt(self, block: bytes, line: int, after: int, start: int) -> tuple[bytes, int]:
        """Cut what is shown of a long line out of a block, and say where that begins."""
        self.output.remark(f"lines above {MAX_LINE_BYTES} bytes cut")
        begin = max(line, start - CONTEXT_BYTES)
        # No character is cut in two at the beginning; what is cut at the end is replaced.
        while begin > line and block[begin] & 0xC0 == 0x80:
            begin -= 1
        return block[begin : min(after, begin + MAX_LINE_BYTES)], begin
