"""
Results of questions, remembered only as long as the files they came from stay the same.

Two tiers: the memory of this process, and a file that all processes share. Who asks what is being
found out already waits for that answer, in either tier.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

from target_app.cache.disk import Disk, DiskError, Shelf
from target_app.cache.generation import Generation
from target_app.cache.memory import Entry, Memory
from target_app.cache.rows import Row
from target_app.cache.state import Change, State

Value = TypeVar("Value")

TOUCH_NS = 60_000_000_000
"""How often the disk hears of an entry that memory answers, so as not to drop it for its age."""

_SECOND_NS = 1_000_000_000

Outcome = Literal["hit", "miss", "error"]


class CacheListener(Protocol):
    """
    Hears what a cache does. Called from the event loop, and from the thread that writes.

    All times are seconds.
    """

    def got(self, result: Outcome, reason: str, seconds: float) -> None:
        """
        One question was looked up.

        The reason of a hit is the tier, memory or disk; of a miss absent, in_flight, or a
        `Change` that made a remembered answer untrue; of an error what failed.
        """
        ...

    def stored(self, result: Outcome, seconds: float) -> None:
        """One result was to be kept; a miss is too large for every tier, an error was lost."""
        ...

    def invalidated(self, reason: str, count: int) -> None:
        """Entries were found untrue."""
        ...

    def evicted(self, tier: str, count: int) -> None:
        """Entries made room for others in memory or on disk."""
        ...

    def cleared(self, count: int, seconds: float) -> None:
        """The cache was emptied by hand."""
        ...

    def saved(self, seconds: float) -> None:
        """An answer was remembered that took so long to make."""
        ...


@dataclass(frozen=True, slots=True)
class Codec(Generic[Value]):
    """How values become bytes for the disk, and values again; `decode` raises ValueError."""

    encode: Callable[[Value], bytes]
    decode: Callable[[bytes], Value]


class Hit(NamedTuple, Generic[Value]):
    """A remembered value that is still true, and the time it spared."""

    value: Value
    saved_seconds: float


@dataclass(frozen=True, slots=True)
class Made(Generic[Value]):
    """
    A value that was made, in `seconds`, and takes `size_bytes` of memory.

    `keep` says that it is true of the state it was asked for: that state was settled before the
    files were read, and was found the same after.
    """

    value: Value
    keep: bool
    seconds: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Answered(Generic[Value]):
    """The answer to a question; `hit` when it was remembered."""

    value: Value
    hit: bool


@dataclass(slots=True, eq=False)
class _Flight(Generic[Value]):
    """An answer on its way, and how many wait for it."""

    task: asyncio.Task[Answered[Value]]
    waiting: int = 0


class ResultCache(Generic[Value]):
    """
    Answers questions about files. For one event loop; only the disk has a thread of its own.

    A question is a text that names everything an answer depends on but the files: the data root,
    the command, its limits, the path and the options. An entry is true in one state of the files,
    and for `ttl_seconds` of the wall clock at most; None is as long as that state lasts.
    """

    def __init__(
        self,
        name: str,
        memory: Memory[Value],
        disk: Disk | None,
        codec: Codec[Value],
        *,
        listener: CacheListener,
        ttl_seconds: float | None = None,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """
        Use a memory of its own and the place called `name` on a shared disk, if there is one.

        `wall_clock_ns` must be the clock that files are dated by.
        """
        self._memory = memory
        self._codec = codec
        self._listener = listener
        self._ttl_ns = None if ttl_seconds is None else int(ttl_seconds * _SECOND_NS)
        self._wall_clock_ns = wall_clock_ns
        self._shelf = None if disk is None else disk.shelf(name, listener)
        self._generation = Generation() if self._shelf is None else self._shelf.generation
        self._flights: dict[tuple[str, bytes, bytes], _Flight[Value]] = {}
        self._tasks: set[asyncio.Task[Answered[Value]]] = set()

    @property
    def size_bytes(self) -> int:
        """Bytes held in memory now."""
        return self._memory.size_bytes

    def __len__(self) -> int:
        """Entries held in memory now."""
        return len(self._memory)

    def peek(self, question: str, state: State) -> Hit[Value] | None:
        """Answer what memory holds, within microseconds; None is not counted as a miss."""
        started = time.perf_counter()
        entry = self._memory.get(question)
        if entry is None or entry.generation != self._generation.now():
            return None
        now_ns = self._wall_clock_ns()
        if self._untruth(entry.state, state, now_ns - entry.stored_at_ns) is not None:
            return None
        self._memory.use(question)
        if self._shelf is not None and now_ns - entry.touched_at_ns > TOUCH_NS:
            entry.touched_at_ns = now_ns
            self._shelf.touch(question)
        self._listener.saved(entry.seconds)
        self._listener.got("hit", "memory", time.perf_counter() - started)
        return Hit(entry.value, entry.seconds)

    async def answer(
        self, question: str, state: State, make: Callable[[], Awaitable[Made[Value]]]
    ) -> Answered[Value]:
        """
        Answer what is remembered, or make it, once for all who ask at the same time.

        What `make` raises, all of them get. When nobody waits any more, it is cancelled.
        """
        hit = self.peek(question, state)
        if hit is not None:
            return Answered(hit.value, hit=True)
        if not state.is_settled(self._wall_clock_ns()):
            # The files may have changed since another began, and this not show in the state.
            return await self._find_out(question, state, make, settled=False)
        key = (question, state.structure, state.contents)
        flight = self._flights.get(key)
        if flight is not None:
            self._listener.got("miss", "in_flight", 0.0)
            answered = await self._wait(key, flight)
            return Answered(answered.value, hit=False)
        task = asyncio.ensure_future(self._find_out(question, state, make, settled=True))
        self._tasks.add(task)
        task.add_done_callback(self._landed)
        flight = self._flights[key] = _Flight(task)
        return await self._wait(key, flight)

    def clear(self) -> int:
        """Forget everything, for all processes, and answer how many entries there were."""
        started = time.perf_counter()
        count = len(self._memory)
        self._memory.clear()
        if self._shelf is None:
            self._generation.advance()
        else:
            count = max(count, self._shelf.clear())
        self._listener.cleared(count, time.perf_counter() - started)
        return count

    def _untruth(self, held: State, now: State, age_ns: int) -> Change | None:
        """Name what makes an entry untrue; None when nothing does."""
        change = held.change_to(now)
        if change is None and self._ttl_ns is not None:
            # From the future: the clock was put back, and the age is not known.
            known = age_ns >= -_SECOND_NS
            change = None if known and age_ns < self._ttl_ns else Change.EXPIRED
        return change

    async def _wait(
        self, key: tuple[str, bytes, bytes], flight: _Flight[Value]
    ) -> Answered[Value]:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0:
                # Nobody may join what is being cancelled.
                del self._flights[key]
                flight.task.cancel()

    def _landed(self, task: asyncio.Task[Answered[Value]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Seen here, or it is reported as overlooked when nobody waited any more.
            task.exception()

    async def _find_out(
        self,
        question: str,
        state: State,
        make: Callable[[], Awaitable[Made[Value]]],
        *,
        settled: bool,
    ) -> Answered[Value]:
        started = time.perf_counter()
        generation = self._generation.now()
        entry, result, reason = await self._look_up(question, state, generation)
        self._listener.got(result, reason, time.perf_counter() - started)
        if entry is not None:
            self._listener.saved(entry.seconds)
            return Answered(entry.value, hit=True)
        made = await make()
        if made.keep and settled:
            self._store(question, state, made, generation)
        return Answered(made.value, hit=False)

    async def _look_up(
        self, question: str, state: State, generation: int
    ) -> tuple[Entry[Value] | None, Outcome, str]:
        """Look into both tiers, drop what is untrue there and name the first reason."""
        now_ns = self._wall_clock_ns()
        untruth = None
        held = self._memory.get(question)
        if held is not None:
            self._memory.drop(question)
            if held.generation == generation:
                untruth = self._untruth(held.state, state, now_ns - held.stored_at_ns)
        if self._shelf is not None:
            try:
                found = await asyncio.to_thread(
                    self._fetch, self._shelf, question, state, generation, now_ns
                )
            except DiskError as error:
                return None, "error", str(error)
            if isinstance(found, Entry):
                self._remember(question, found)
                return found, "hit", "disk"
            untruth = untruth or found
        if untruth is not None:
            self._listener.invalidated(untruth, 1)
        return None, "miss", untruth or "absent"

    def _fetch(
        self, shelf: Shelf, question: str, state: State, generation: int, now_ns: int
    ) -> Entry[Value] | Change | None:
        """Read from disk, in a thread. Raises DiskError."""
        row = shelf.get(question, state)
        if row is None:
            return None
        held = State(row.structure, row.contents, 0)
        untruth = self._untruth(held, state, now_ns - row.stored_at_ns)
        if row.value is None or untruth is not None or row.generation != generation:
            shelf.drop(question)
            return untruth if row.generation == generation else None
        try:
            value = self._codec.decode(row.value)
        except ValueError:
            shelf.drop(question)
            msg = "value"
            raise DiskError(msg) from None
        shelf.touch(question)
        return Entry(
            value, state, row.seconds, len(row.value), row.stored_at_ns, generation, now_ns
        )

    def _store(self, question: str, state: State, made: Made[Value], generation: int) -> None:
        started = time.perf_counter()
        now_ns = self._wall_clock_ns()
        entry = Entry(made.value, state, made.seconds, made.size_bytes, now_ns, generation, now_ns)
        held = self._remember(question, entry)
        if self._shelf is not None:
            row = Row(state.structure, state.contents, made.seconds, now_ns, generation)
            held |= self._shelf.put(
                question, row, lambda: self._codec.encode(made.value), made.size_bytes
            )
        self._listener.stored("hit" if held else "miss", time.perf_counter() - started)

    def _remember(self, question: str, entry: Entry[Value]) -> bool:
        evicted = self._memory.put(question, entry)
        if evicted:
            self._listener.evicted("memory", evicted)
        return evicted is not None
