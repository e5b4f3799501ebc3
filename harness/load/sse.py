"""Server-sent events, read as they arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its name and its data, lines joined."""

    name: str
    data: str

    @property
    def heartbeat(self) -> bool:
        """Whether it only keeps the connection open, as some APIs do instead of by comments."""
        return self.name in ("ping", "heartbeat", "keepalive", "keep-alive")


def events(read: Callable[[], bytes]) -> Iterator[Event]:
    """
    Read events until the stream ends; comments, `id`, `retry` and unknown fields are passed over.

    `read` gives the bytes that came next, however they were cut, and none at
    the end. It is asked for more only when no whole event is left.
    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    name, data = "", list[str]()
    for line in _lines(read):
        if not line:
            if data:
                yield Event(name or "message", "\n".join(data))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        if field == "data":
            data.append(value.removeprefix(" "))
        elif field == "event":
            name = value.removeprefix(" ")


def _lines(read: Callable[[], bytes]) -> Iterator[str]:
    """Cut into lines, which end in CR, LF or both; what comes after the last end is dropped."""
    begun: list[bytes] = []
    first, after_cr = True, False
    while chunk := read():
        ends_in_cr = chunk.endswith(b"\r")
        if after_cr:
            chunk = chunk.removeprefix(b"\n")  # the second half of a CR LF
        after_cr = ends_in_cr
        lines = chunk.splitlines()
        last = b"" if chunk.endswith((b"\r", b"\n")) or not lines else lines.pop()
        for line in lines:
            if begun:
                line = b"".join((*begun, line))  # noqa: PLW2901 - its beginning came before
                begun.clear()
            text = line.decode("utf-8", errors="replace")
            yield text.removeprefix(_MARK) if first else text
            first = False
        if last:
            begun.append(last)
