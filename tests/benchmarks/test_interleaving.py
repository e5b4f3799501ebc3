"""The order in which two sides are measured."""

from __future__ import annotations

from benchmarks.interleaving import turns


def test_sides_come_forth_and_back() -> None:
    assert "".join("A" if turn.side == "off" else "B" for turn in turns(5)) == "ABBAABBAAB"


def test_every_pair_has_both_sides() -> None:
    assert [turn.pair for turn in turns(3)] == [0, 0, 1, 1, 2, 2]
    for pair in range(3):
        assert {turn.side for turn in turns(3) if turn.pair == pair} == {"off", "on"}
