r"""
Text with its escapes undone, and the way back.

What is in JSON or in a URL does not look like itself: an `@` is `%40`, and a word at the start of
a line follows the letters `\n`. Whoever looks for something looks at the text as it is written,
and at what it means.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import re2  # type: ignore[import-untyped]

LEVELS = 3
"""How often escapes are undone: JSON in JSON in a URL."""

_ESCAPE = re.compile(
    rb"%([0-9A-Fa-f]{2})|\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([\x00-\x7f]))", re.DOTALL
)
# To find none, as in most texts, RE2 is ten times as fast.
_ANY = re2.compile(rb"%[0-9A-Fa-f][0-9A-Fa-f]|\\")
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


@dataclass(frozen=True, slots=True)
class View:
    """A text as it can be read, and where each part of it stands in what was written."""

    data: bytes
    # Where pieces begin here and in the view before: odd ones were escapes, even ones none.
    _here: tuple[int, ...] = (0,)
    _there: tuple[int, ...] = (0,)
    _before: View | None = None

    def start_of(self, place: int) -> int:
        """Answer where something that begins at `place` begins in what was written."""
        if self._before is None:
            return place
        piece = bisect_right(self._here, place) - 1
        there = self._there[piece] + (0 if piece % 2 else place - self._here[piece])
        return self._before.start_of(there)

    def end_of(self, place: int) -> int:
        """Answer where something that ends before `place` ends in what was written."""
        if self._before is None:
            return place
        piece = max(0, bisect_left(self._here, place) - 1)
        there = (
            self._there[piece + 1] if piece % 2 else self._there[piece] + place - self._here[piece]
        )
        return self._before.end_of(there)

    def undone(self) -> View | None:
        """Undo the escapes once; None when there are none."""
        pieces: list[bytes] = []
        here, there = [0], [0]
        at = length = 0
        for match in _ESCAPE.finditer(self.data):
            start, stop = match.span()
            meant = _meant(match)
            pieces += [self.data[at:start], meant]
            length += start - at
            here += [length, length + len(meant)]
            there += [start, stop]
            length += len(meant)
            at = stop
        if not pieces:
            return None
        pieces.append(self.data[at:])
        return View(b"".join(pieces), tuple(here), tuple(there), self)


def views(data: bytes) -> Iterator[View]:
    """Answer a text as it is written, then with its escapes undone, as long as there are any."""
    view: View | None = View(data)
    for _ in range(1 + LEVELS):
        if view is None:
            return
        yield view
        view = view.undone() if _ANY.search(view.data) else None


def _meant(match: re.Match[bytes]) -> bytes:
    percent, wide, narrow, letter = match.groups()
    if letter is not None:
        return _CONTROLS.get(letter, letter)
    if wide is not None:
        return chr(int(wide, 16)).encode(errors="replace")
    return bytes.fromhex((percent or narrow).decode())
