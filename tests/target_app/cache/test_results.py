"""An answer is remembered while it is true, in memory and on disk, and made once at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from target_app.cache.disk import Disk
from target_app.cache.memory import ENTRY_OVERHEAD_BYTES, Memory
from target_app.cache.results import TOUCH_NS, Answered, Codec, Hit, Made, ResultCache
from target_app.cache.state import State
from tests.target_app.cache.listening import (
    EDITED,
    MOVED,
    NOON_NS,
    NOW,
    TEXT,
    Heard,
    Maker,
    WallClock,
)

pytestmark = pytest.mark.anyio

Cache = ResultCache[str]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def cache(heard: Heard, clock: WallClock) -> Cache:
    """Make a cache without a disk."""
    return made_cache(None, heard, clock)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Callable[[], Disk]]:
    """Open the same file as often as it is asked for, as so many processes would."""
    with contextlib.ExitStack() as stack:

        def opened() -> Disk:
            disk = Disk(tmp_path / "cache", 1_000_000)
            stack.callback(disk.close)
            return disk

        yield opened


def made_cache(
    disk: Disk | None,
    heard: Heard,
    clock: WallClock,
    *,
    memory_bytes: int = 100_000,
    ttl_seconds: float | None = 300,
    codec: Codec[str] = TEXT,
) -> Cache:
    return ResultCache(
        "search",
        Memory(memory_bytes),
        disk,
        codec,
        listener=heard,
        ttl_seconds=ttl_seconds,
        wall_clock_ns=clock,
    )


async def test_what_was_made_is_remembered(cache: Cache, heard: Heard) -> None:
    make = Maker("found", seconds=0.25)
    before = cache.peek("q", NOW)

    first = await cache.answer("q", NOW, make)
    again = await cache.answer("q", NOW, make)

    assert (before, first, again) == (
        None,
        Answered("found", hit=False),
        Answered("found", hit=True),
    )
    assert cache.peek("q", NOW) == Hit("found", 0.25)
    assert (make.runs, len(cache), cache.size_bytes) == (1, 1, ENTRY_OVERHEAD_BYTES + 6)
    assert heard.gets == {("miss", "absent"): 1, ("hit", "memory"): 2}
    assert (heard.sets, heard.saved_seconds) == ({"hit": 1}, 0.5)


async def test_that_nothing_was_found_is_an_answer_too(cache: Cache) -> None:
    make = Maker("")
    await cache.answer("q", NOW, make)

    assert await cache.answer("q", NOW, make) == Answered("", hit=True)


@pytest.mark.parametrize("tier", ["memory", "disk"])
@pytest.mark.parametrize(
    ("state", "seconds_later", "reason"),
    [
        pytest.param(EDITED, 0, "file_change", id="a file changed"),
        pytest.param(MOVED, 0, "directory_change", id="a folder changed"),
        pytest.param(NOW, 300, "ttl_expired", id="its time is over"),
        pytest.param(NOW, -2, "ttl_expired", id="the clock was put back"),
    ],
)
async def test_an_answer_that_may_be_untrue_is_made_anew(
    heard: Heard,
    clock: WallClock,
    disks: Callable[[], Disk],
    tier: str,
    state: State,
    seconds_later: float,
    reason: str,
) -> None:
    disk = disks() if tier == "disk" else None
    cache = made_cache(disk, heard, clock, memory_bytes=0 if disk else 10_000)
    await cache.answer("q", NOW, Maker("old"))
    assert disk is None or disk.flush()

    clock.advance(seconds_later)
    peeked = cache.peek("q", state)
    answered = await cache.answer("q", state, Maker("new"))

    assert (peeked, answered) == (None, Answered("new", hit=False))
    assert heard.gets == {("miss", "absent"): 1, ("miss", reason): 1}
    assert heard.invalid == {reason: 1}


async def test_just_before_its_time_is_over_an_answer_is_true(
    cache: Cache, clock: WallClock
) -> None:
    await cache.answer("q", NOW, Maker())

    clock.advance(299.9)

    assert cache.peek("q", NOW) is not None


async def test_without_a_time_to_live_an_answer_lasts(heard: Heard, clock: WallClock) -> None:
    cache = made_cache(None, heard, clock, ttl_seconds=None)
    await cache.answer("q", NOW, Maker())

    clock.advance(10_000_000)

    assert cache.peek("q", NOW) is not None


async def test_what_is_not_to_be_kept_is_not(cache: Cache, heard: Heard) -> None:
    make = Maker(keep=False)

    await cache.answer("q", NOW, make)
    await cache.answer("q", NOW, make)

    assert (make.runs, len(cache), heard.sets) == (2, 0, {})


async def test_files_that_changed_just_now_are_read_by_everybody(
    cache: Cache, clock: WallClock
) -> None:
    unsettled = State(b"paths", b"contents", NOON_NS - 19_999_999)
    make = Maker()

    await asyncio.gather(*(cache.answer("q", unsettled, make) for _ in range(3)))
    clock.advance(1)
    await cache.answer("q", unsettled, make)
    await cache.answer("q", unsettled, make)

    assert make.runs == 4


async def test_what_is_too_large_is_said_to_be_lost(heard: Heard, clock: WallClock) -> None:
    cache = made_cache(None, heard, clock, memory_bytes=ENTRY_OVERHEAD_BYTES)

    await cache.answer("q", NOW, Maker())

    assert (len(cache), heard.sets) == (0, {"miss": 1})


async def test_making_room_is_heard(heard: Heard, clock: WallClock) -> None:
    cache = made_cache(None, heard, clock, memory_bytes=2 * ENTRY_OVERHEAD_BYTES)

    await cache.answer("a", NOW, Maker())
    await cache.answer("b", NOW, Maker())

    assert (cache.peek("a", NOW), len(cache), heard.evictions) == (None, 1, {"memory": 1})


class Slow:
    """Makes a value once it is allowed to, or fails."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.allowed = asyncio.Event()
        self.runs = 0
        self.was_cancelled = False
        self.error: Exception | None = None

    async def __call__(self) -> Made[str]:
        self.runs += 1
        self.begun.set()
        try:
            await self.allowed.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        if self.error is not None:
            raise self.error
        return Made("slow", keep=True, seconds=1, size_bytes=4)


async def test_who_asks_at_the_same_time_gets_the_same_answer(cache: Cache, heard: Heard) -> None:
    slow = Slow()
    asked = [asyncio.create_task(cache.answer("q", NOW, slow)) for _ in range(5)]
    await slow.begun.wait()
    other = await cache.answer("q", EDITED, Maker("of another state"))
    slow.allowed.set()

    assert await asyncio.gather(*asked) == [Answered("slow", hit=False)] * 5
    assert (slow.runs, other.value) == (1, "of another state")
    assert heard.gets == {("miss", "absent"): 2, ("miss", "in_flight"): 4}


async def test_when_the_first_leaves_the_others_still_get_it(cache: Cache) -> None:
    slow = Slow()
    first, second = (asyncio.create_task(cache.answer("q", NOW, slow)) for _ in range(2))
    await slow.begun.wait()

    first.cancel()
    await asyncio.wait([first])
    slow.allowed.set()

    assert await second == Answered("slow", hit=False)
    assert (first.cancelled(), slow.was_cancelled) == (True, False)


async def test_when_all_have_left_the_work_is_stopped(cache: Cache) -> None:
    slow = Slow()
    asked = [asyncio.create_task(cache.answer("q", NOW, slow)) for _ in range(2)]
    await slow.begun.wait()

    for task in asked:
        task.cancel()
    await asyncio.wait(asked)
    after = await cache.answer("q", NOW, Maker("of the next who asked"))

    assert (slow.was_cancelled, after.value) == (True, "of the next who asked")


async def test_all_get_the_error_and_none_is_remembered(cache: Cache, heard: Heard) -> None:
    slow = Slow()
    slow.error = OSError("the disk is on fire")
    asked = [asyncio.create_task(cache.answer("q", NOW, slow)) for _ in range(2)]
    await slow.begun.wait()
    slow.allowed.set()

    errors = await asyncio.gather(*asked, return_exceptions=True)

    assert errors == [slow.error] * 2
    assert (await cache.answer("q", NOW, Maker())).hit is False
    assert heard.sets == {"hit": 1}


async def test_an_error_nobody_waits_for_is_not_reported_as_overlooked(cache: Cache) -> None:
    slow = Slow()

    async def fail_when_cancelled() -> Made[str]:
        try:
            return await slow()
        except asyncio.CancelledError:
            msg = "could not stop"
            raise OSError(msg) from None

    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    asked = asyncio.create_task(cache.answer("q", NOW, fail_when_cancelled))
    await slow.begun.wait()
    asked.cancel()
    await asyncio.wait([asked])
    await cache.answer("q", NOW, Maker())

    assert problems == []


async def test_clearing_forgets_everything(cache: Cache, heard: Heard) -> None:
    await cache.answer("a", NOW, Maker())
    await cache.answer("b", NOW, Maker())

    assert (cache.clear(), len(cache), cache.size_bytes, cache.clear()) == (2, 0, 0, 0)
    assert heard.cleared_counts == [2, 0]


@pytest.mark.parametrize("tier", ["memory", "disk"])
async def test_what_was_begun_before_a_clearing_is_not_remembered(
    heard: Heard, clock: WallClock, disks: Callable[[], Disk], tier: str
) -> None:
    disk = disks() if tier == "disk" else None
    cache = made_cache(disk, heard, clock)
    slow = Slow()
    asked = asyncio.create_task(cache.answer("q", NOW, slow))
    await slow.begun.wait()

    cache.clear()
    slow.allowed.set()
    await asked
    assert disk is None or disk.flush()

    assert cache.peek("q", NOW) is None
    assert await cache.answer("q", NOW, Maker("new")) == Answered("new", hit=False)


async def test_what_one_process_made_the_other_finds(
    heard: Heard, clock: WallClock, disks: Callable[[], Disk]
) -> None:
    disk = disks()
    here = made_cache(disk, Heard(), clock)
    there = made_cache(disks(), heard, clock)
    await here.answer("q", NOW, Maker("von hier: äöü", seconds=2))
    disk.flush()

    found = await there.answer("q", NOW, Maker("made again"))

    assert (found, there.peek("q", NOW)) == (
        Answered("von hier: äöü", hit=True),
        Hit("von hier: äöü", 2),
    )
    assert heard.gets == {("hit", "disk"): 1, ("hit", "memory"): 1}
    assert heard.saved_seconds == 4


async def test_an_answer_grows_old_from_when_it_was_made(
    heard: Heard, clock: WallClock, disks: Callable[[], Disk]
) -> None:
    disk = disks()
    here, there = made_cache(disk, Heard(), clock), made_cache(disks(), heard, clock)
    await here.answer("q", NOW, Maker())
    disk.flush()
    clock.advance(200)
    await there.answer("q", NOW, Maker())

    clock.advance(100)

    assert there.peek("q", NOW) is None


async def test_clearing_is_seen_by_every_process_at_once(
    heard: Heard, clock: WallClock, disks: Callable[[], Disk]
) -> None:
    disk = disks()
    here, there = made_cache(disk, heard, clock), made_cache(disks(), Heard(), clock)
    await here.answer("q", NOW, Maker())
    disk.flush()
    known = (await there.answer("q", NOW, Maker())).hit

    cleared = here.clear()

    assert (known, cleared, there.peek("q", NOW)) == (True, 1, None)
    assert (await there.answer("q", NOW, Maker())).hit is False


async def test_caches_on_one_disk_do_not_answer_for_each_other(
    heard: Heard, clock: WallClock, disks: Callable[[], Disk]
) -> None:
    disk = disks()
    search = made_cache(disk, heard, clock)
    content = ResultCache(
        "content", Memory[str](0), disk, TEXT, listener=heard, wall_clock_ns=clock
    )
    await search.answer("q", NOW, Maker("of search"))
    disk.flush()

    assert (await content.answer("q", NOW, Maker("of content"))).value == "of content"
    disk.flush()
    assert (search.clear(), content.clear()) == (1, 1)


async def test_the_disk_hears_of_what_memory_answers(
    heard: Heard, clock: WallClock, disks: Callable[[], Disk]
) -> None:
    disk = disks()
    cache = made_cache(disk, heard, clock, memory_bytes=2_000_000, ttl_seconds=None)
    for question in "ab":
        await cache.answer(question, NOW, Maker("x" * 400_000))
        disk.flush()

    clock.ns += TOUCH_NS + 1
    cache.peek("a", NOW)
    await cache.answer("c", NOW, Maker("x" * 400_000))
    disk.flush()

    other = made_cache(disks(), Heard(), clock, ttl_seconds=None)
    found = [(await other.answer(question, NOW, Maker(""))).hit for question in "ac"]
    assert (found, heard.evictions["disk"]) == ([True, True], 1)


async def test_a_value_that_cannot_be_read_back_is_an_error_and_made_again(
    heard: Heard, clock: WallClock, disks: Callable[[], Disk]
) -> None:
    def refuse(_: bytes) -> str:
        msg = "of an older version"
        raise ValueError(msg)

    disk = disks()
    cache = made_cache(disk, heard, clock, memory_bytes=0, codec=Codec(str.encode, refuse))
    await cache.answer("q", NOW, Maker("old"))
    disk.flush()

    again = await cache.answer("q", NOW, Maker("new"))

    assert again == Answered("new", hit=False)
    assert heard.gets == {("miss", "absent"): 1, ("error", "value"): 1}
