"""A cache of tool results, bounded in bytes, whose entries are true only in one state of files."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from target_app.cache.state import Change, State

Value = TypeVar("Value")

ENTRY_OVERHEAD_BYTES = 512
"""What an entry takes besides its key and its value, roughly."""


@dataclass(frozen=True, slots=True)
class Hit(Generic[Value]):
    """A result that is still true."""

    value: Value


@dataclass(frozen=True, slots=True)
class Miss:
    """No true result; `stale` says why the one that was there was dropped, if one was."""

    stale: Change | None = None


@dataclass(slots=True)
class _Entry(Generic[Value]):
    value: Value
    state: State
    size_bytes: int
    expires: float


class ResultCache(Generic[Value]):
    """
    Results by key, least recently used dropped first. Safe to use from many threads.

    `limit_bytes` 0 holds nothing, so every get is a miss. `ttl_seconds` None keeps an entry
    until its state changes.
    """

    def __init__(
        self,
        limit_bytes: int,
        *,
        ttl_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin empty. `clock` answers seconds and never goes back."""
        self._limit_bytes = limit_bytes
        self._ttl_seconds = float("inf") if ttl_seconds is None else ttl_seconds
        self._clock = clock
        self._entries: OrderedDict[str, _Entry[Value]] = OrderedDict()
        self._size_bytes = 0
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        return self._size_bytes

    def __len__(self) -> int:
        """Entries held now."""
        return len(self._entries)

    def get(self, key: str, state: State) -> Hit[Value] | Miss:
        """Answer what is known for a key, given the state its scope is in now."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return Miss()
            stale = entry.state.change_to(state)
            if stale is None and self._clock() >= entry.expires:
                stale = Change.EXPIRED
            if stale is not None:
                self._drop(key)
                return Miss(stale)
            self._entries.move_to_end(key)
            return Hit(entry.value)

    def put(self, key: str, state: State, value: Value, value_bytes: int) -> bool:
        """Remember a result; answers False when it is too large to be held."""
        size = value_bytes + len(key.encode(errors="replace")) + ENTRY_OVERHEAD_BYTES
        if size > self._limit_bytes:
            return False
        with self._lock:
            if key in self._entries:
                self._drop(key)
            expires = self._clock() + self._ttl_seconds
            self._entries[key] = _Entry(value, state, size, expires)
            self._size_bytes += size
            while self._size_bytes > self._limit_bytes:
                self._drop(next(iter(self._entries)))
        return True

    def clear(self) -> int:
        """Forget everything and answer how many entries there were."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            self._size_bytes = 0
        return count

    def _drop(self, key: str) -> None:
        self._size_bytes -= self._entries.pop(key).size_bytes
