"""What to ask: a deck of questions from a JSON-lines file, dealt out to the users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and what a right answer contains (None: any answer will do)."""

    text: str
    answer: str | None = None


class Deck:
    """
    Questions in a fixed order, shared by all users of a scenario.

    With `repeat`, it starts over at the end. Without, each question is asked
    at most once: users stop when it is used up. Several load processes deal
    from the same order in turns, so that no two ask the same.
    """

    def __init__(
        self, path: Path, *, first: int = 0, count: int | None = None, repeat: bool = False
    ) -> None:
        """Read `count` questions from the `first` on; raises ValueError naming file and line."""
        cards = list(_read(path))[first:]
        self._cards = cards if count is None else cards[:count]
        if not self._cards:
            msg = f"{path}: no questions from number {first} on"
            raise ValueError(msg)
        self._repeat = repeat
        self._dealt = 0
        self._share = (0, 1)

    def __iter__(self) -> Iterator[Question]:
        """All questions, without dealing them."""
        return iter(self._cards)

    def split(self, index: int, count: int) -> None:
        """Start over, dealing every count-th question from the index-th on: a process's share."""
        self._share, self._dealt = (index, count), 0

    def draw(self) -> Question:
        """Deal the next question; raises StopUser when all were dealt once."""
        index, count = self._share
        place = index + self._dealt * count
        self._dealt += 1
        if place >= len(self._cards) and not self._repeat:
            from locust.exception import StopUser  # noqa: PLC0415 - patches the whole process

            raise StopUser(f"all {len(self._cards)} questions were asked once")
        return self._cards[place % len(self._cards)]


def _read(path: Path) -> Iterator[Question]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                fields = json.loads(line)
                yield Question(fields["text"], fields.get("answer"))
            except (ValueError, KeyError, TypeError) as error:
                msg = f"{path}:{number}: not a question: give a JSON object with 'text' ({error})"
                raise ValueError(msg) from error
