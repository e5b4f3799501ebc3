"""Server-sent events, read line by line as they arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: its name and its data, lines joined."""

    name: str
    data: str


def events(readline: Callable[[], bytes]) -> Iterator[Event]:
    """
    Read events until the stream ends; comments and unknown fields are passed over.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """
    name, data = "message", list[str]()
    while line := readline():
        text = line.decode("utf-8", errors="replace").rstrip("\r\n")
        if not text:
            if data:
                yield Event(name, "\n".join(data))
            name, data = "message", []
            continue
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
