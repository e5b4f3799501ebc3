"""The first tier: results in the memory of one process, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from target_app.cache.state import State

Value = TypeVar("Value")

ENTRY_OVERHEAD_BYTES = 512
"""What an entry takes besides its question and its value, roughly."""


@dataclass(slots=True)
class Entry(Generic[Value]):
    """
    A result, true in one state and in one generation of the cache.

    `seconds` is how long it took to make, `size_bytes` how much its value takes. `stored_at_ns`
    and `touched_at_ns` are of the wall clock: when it was made, and when the disk was last told
    that it is in use.
    """

    value: Value
    state: State
    seconds: float
    size_bytes: int
    stored_at_ns: int
    generation: int
    touched_at_ns: int


class Memory(Generic[Value]):
    """
    Entries by question, least recently used dropped first. For one event loop, without locks.

    A limit of 0 bytes holds nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Begin empty."""
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[str, Entry[Value]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        """Entries held now."""
        return len(self._entries)

    def get(self, question: str) -> Entry[Value] | None:
        """Answer what is held, true or not."""
        return self._entries.get(question)

    def use(self, question: str) -> None:
        """Count an entry that is held as used just now."""
        self._entries.move_to_end(question)

    def put(self, question: str, entry: Entry[Value]) -> int | None:
        """Hold an entry; answer how many made room for it, or None when it is too large."""
        self.drop(question)
        size = _size(question, entry)
        if size > self._limit_bytes:
            return None
        self._entries[question] = entry
        self.size_bytes += size
        evicted = 0
        while self.size_bytes > self._limit_bytes:
            self.drop(next(iter(self._entries)))
            evicted += 1
        return evicted

    def drop(self, question: str) -> None:
        """Hold no answer to a question any more."""
        entry = self._entries.pop(question, None)
        if entry is not None:
            self.size_bytes -= _size(question, entry)

    def clear(self) -> None:
        """Hold nothing any more."""
        self._entries.clear()
        self.size_bytes = 0


def _size(question: str, entry: Entry[Value]) -> int:
    return entry.size_bytes + len(question) + ENTRY_OVERHEAD_BYTES
