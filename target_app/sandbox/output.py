"""What a command writes and how it is stopped: at the output limit and at its deadline."""

from __future__ import annotations

import codecs
import time
from collections import Counter
from dataclasses import dataclass, field

from target_app.text import readable

_CONTROL = dict.fromkeys([*range(32), 127], "?")

_decoder = codecs.getincrementaldecoder("utf-8")


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
    """
    How much a command may read and write, in bytes, and for how many seconds.

    `small_file_bytes` and `medium_file_bytes` are where smart_read changes its way of reading.
    """

    output_bytes: int
    file_bytes: int
    timeout_seconds: float
    small_file_bytes: int = 1_000_000
    medium_file_bytes: int = 100_000_000


@dataclass(slots=True)
class Output:
    """What a command has written, within its limits, and what is to be said beside it."""

    limits: Limits
    deadline: float
    parts: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    is_full: bool = False
    owes_break: bool = False
    notes: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    @classmethod
    def start(cls, limits: Limits) -> Output:
        """Begin a command now."""
        return cls(limits, time.monotonic() + limits.timeout_seconds)

    def check(self) -> None:
        """Raise CommandTimeoutError if the deadline has passed."""
        if time.monotonic() >= self.deadline:
            msg = f"stopped after {self.limits.timeout_seconds:g} s"
            raise CommandTimeoutError(msg)

    def raw(self, data: bytes) -> None:
        """
        Write bytes; raises OutputFullError after writing what still fitted of them.

        A line break at their end is held back until more is written.
        """
        if not data:
            return
        text = data.removesuffix(b"\n")
        if self.owes_break:
            text = b"\n" + text
        self.owes_break = data.endswith(b"\n")
        room = self.limits.output_bytes - self.size_bytes
        self.is_full = len(text) > room
        self.parts.append(text[:room])
        self.size_bytes += min(len(text), room)
        if self.is_full:
            raise OutputFullError

    def line(self, text: str | bytes) -> None:
        """Write a line of its own; raises OutputFullError after writing what still fitted."""
        data = text.encode(errors="replace") if isinstance(text, str) else text
        if self.size_bytes and not self.owes_break:
            data = b"\n" + data
        self.raw(data + b"\n")

    def remark(self, note: str) -> None:
        """Note something beside the output, once however often it is said."""
        if note not in self.notes:
            self.notes.append(note)

    def pass_over(self, what: str) -> None:
        """Note that something was not looked at; `what` follows a number."""
        self.passed_over[what] += 1

    def text(self) -> str:
        """Everything written. What is not UTF-8 is replaced, and no character is cut in two."""
        return _decoder("replace").decode(b"".join(self.parts), final=not self.is_full)

    def note(self) -> str:
        """Everything to be said beside the output, "" for nothing."""
        notes = list(self.notes)
        if self.is_full:
            notes.append(f"output cut at {self.limits.output_bytes} bytes")
        left_out = ", ".join(f"{count} {what}" for what, count in self.passed_over.items())
        if left_out:
            notes.append(f"passed over: {left_out}")
        return "; ".join(notes)


def printable(name: str) -> str:
    """
    Make a name safe to stand in a line of its own.

    A control character would forge lines, and a name that is not UTF-8 reaches Python as
    surrogates, which no JSON can carry.
    """
    if name.isprintable():
        return name
    return readable(name.translate(_CONTROL))
