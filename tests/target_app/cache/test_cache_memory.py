"""Memory holds what fits, and lets go of what was used longest ago."""

from __future__ import annotations

from target_app.cache.memory import ENTRY_OVERHEAD_BYTES, Entry, Memory
from tests.target_app.cache.listening import NOW

ENTRY_BYTES = ENTRY_OVERHEAD_BYTES + 1 + 100
"""Size of an entry with a question of one letter and a value of 100 bytes."""


def entry(value: str, size_bytes: int = 100) -> Entry[str]:
    return Entry(value, NOW, 0.5, size_bytes, stored_at_ns=0, generation=1, touched_at_ns=0)


def values(memory: Memory[str], questions: str) -> list[str | None]:
    found = [memory.get(question) for question in questions]
    return [None if held is None else held.value for held in found]


def test_what_was_put_is_held() -> None:
    memory: Memory[str] = Memory(10_000)

    evicted = memory.put("a", entry("A"))

    assert (evicted, values(memory, "ab"), len(memory), memory.size_bytes) == (
        0,
        ["A", None],
        1,
        ENTRY_BYTES,
    )


def test_the_least_recently_used_makes_room() -> None:
    memory: Memory[str] = Memory(2 * ENTRY_BYTES)
    memory.put("a", entry("A"))
    memory.put("b", entry("B"))
    memory.use("a")

    evicted = memory.put("c", entry("C"))

    assert (evicted, values(memory, "abc")) == (1, ["A", None, "C"])
    assert memory.size_bytes == 2 * ENTRY_BYTES


def test_what_is_too_large_pushes_nothing_out() -> None:
    memory: Memory[str] = Memory(2 * ENTRY_BYTES)
    memory.put("a", entry("A"))

    assert memory.put("b", entry("B", 10_000)) is None
    assert values(memory, "ab") == ["A", None]


def test_what_became_too_large_is_held_no_more() -> None:
    memory: Memory[str] = Memory(2 * ENTRY_BYTES)
    memory.put("a", entry("A"))

    memory.put("a", entry("a long one", 10_000))

    assert (values(memory, "a"), memory.size_bytes) == ([None], 0)


def test_no_memory_holds_nothing() -> None:
    memory: Memory[str] = Memory(0)

    assert (memory.put("a", entry("", 0)), len(memory)) == (None, 0)


def test_a_question_answered_twice_is_counted_once() -> None:
    memory: Memory[str] = Memory(10_000)
    memory.put("a", entry("first", 500))

    memory.put("a", entry("second"))

    assert (values(memory, "a"), memory.size_bytes) == (["second"], ENTRY_BYTES)


def test_dropping_and_clearing_free_what_was_held() -> None:
    memory: Memory[str] = Memory(10_000)
    memory.put("a", entry("A"))
    memory.put("b", entry("B"))

    memory.drop("a")
    memory.drop("never held")
    left = memory.size_bytes
    memory.clear()

    assert (left, memory.size_bytes, len(memory)) == (ENTRY_BYTES, 0, 0)
