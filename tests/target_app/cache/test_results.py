"""The cache holds what fits, and answers only what is still true."""

from __future__ import annotations

from dataclasses import dataclass

from target_app.cache.results import ENTRY_OVERHEAD_BYTES, Hit, Miss, ResultCache
from target_app.cache.state import Change, State

NOW = State(b"paths", b"contents", 0)
ENTRY = ENTRY_OVERHEAD_BYTES + 1 + 100
"""Size of an entry with a key of one letter and a value of 100 bytes."""


@dataclass
class Clock:
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_what_was_put_is_answered() -> None:
    cache: ResultCache[str] = ResultCache(10_000)

    held = cache.put("a", NOW, "value", 100)

    assert (held, cache.get("a", NOW), len(cache), cache.size_bytes) == (
        True,
        Hit("value"),
        1,
        ENTRY,
    )


def test_an_unknown_key_is_a_miss() -> None:
    assert ResultCache[str](10_000).get("a", NOW) == Miss(None)


def test_an_entry_of_another_state_is_dropped_and_says_why() -> None:
    cache: ResultCache[str] = ResultCache(10_000)
    cache.put("a", NOW, "value", 100)
    cache.put("b", NOW, "value", 100)

    edited = cache.get("a", State(b"paths", b"other", 0))
    moved = cache.get("b", State(b"other", b"other", 0))

    assert (edited, moved) == (Miss(Change.FILE), Miss(Change.DIRECTORY))
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_an_entry_expires() -> None:
    clock = Clock()
    cache: ResultCache[str] = ResultCache(10_000, ttl_seconds=300, clock=clock)
    cache.put("a", NOW, "value", 100)

    clock.seconds = 299.9
    young = cache.get("a", NOW)
    clock.seconds = 300
    old = cache.get("a", NOW)

    assert (young, old) == (Hit("value"), Miss(Change.EXPIRED))


def test_without_a_time_to_live_an_entry_stays() -> None:
    clock = Clock()
    cache: ResultCache[str] = ResultCache(10_000, clock=clock)
    cache.put("a", NOW, "value", 100)

    clock.seconds = 1e9

    assert cache.get("a", NOW) == Hit("value")


def test_a_cache_of_no_size_holds_nothing() -> None:
    cache: ResultCache[str] = ResultCache(0)

    assert (cache.put("a", NOW, "", 0), cache.get("a", NOW), len(cache)) == (False, Miss(), 0)


def test_the_least_recently_used_goes_first() -> None:
    cache: ResultCache[str] = ResultCache(2 * ENTRY)
    cache.put("a", NOW, "A", 100)
    cache.put("b", NOW, "B", 100)
    cache.get("a", NOW)

    cache.put("c", NOW, "C", 100)

    assert [cache.get(key, NOW) for key in "abc"] == [Hit("A"), Miss(), Hit("C")]
    assert cache.size_bytes == 2 * ENTRY


def test_what_is_too_large_is_declined_and_pushes_nothing_out() -> None:
    cache: ResultCache[str] = ResultCache(2 * ENTRY)
    cache.put("a", NOW, "A", 100)

    assert cache.put("b", NOW, "B", 10_000) is False
    assert cache.get("a", NOW) == Hit("A")


def test_a_key_put_twice_is_counted_once() -> None:
    cache: ResultCache[str] = ResultCache(10_000)
    cache.put("a", NOW, "first", 500)

    cache.put("a", NOW, "second", 100)

    assert (cache.get("a", NOW), len(cache), cache.size_bytes) == (Hit("second"), 1, ENTRY)


def test_clearing_forgets_everything() -> None:
    cache: ResultCache[str] = ResultCache(10_000)
    cache.put("a", NOW, "A", 100)
    cache.put("b", NOW, "B", 100)

    assert (cache.clear(), len(cache), cache.size_bytes, cache.clear()) == (2, 0, 0, 0)
