"""What to ask: a deck of questions from a .jsonl or .csv file, dealt out to the users."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.load.declared_files import cannot_be_read

_SHAPES = {
    ".jsonl": "each line is a JSON object with 'text', and 'answer' where one is known",
    ".csv": "the first row names the columns: 'text', and 'answer' where one is known",
}


class DeckError(ValueError):
    """What is wrong in a file of questions, with the line and the field, and the mend."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and what a right answer contains (None: any answer will do)."""

    text: str
    answer: str | None = None


class Deck:
    """
    Questions in a fixed order, shared by all users of a scenario.

    A .jsonl file has an object on each line, a .csv file a row, after one that names the
    columns. `text` is the question, and `answer` what a right answer contains; where that is
    missing or empty, any answer will do. Other fields are left alone.

    With `repeat`, it starts over at the end. Without, each question is asked
    at most once: users stop when it is used up. Several load processes deal
    from the same order in turns, so that no two ask the same.
    """

    def __init__(
        self, path: str | Path, *, first: int = 0, count: int | None = None, repeat: bool = False
    ) -> None:
        """Read `count` questions from number `first` on, counted from 0; raises DeckError."""
        if not isinstance(path, str | Path):
            raise DeckError(f"Deck({path!r}): give the path of a .jsonl or .csv file")
        _check_number("first", first, least=0)
        if count is not None:
            _check_number("count", count, least=1)
        cards = list(_read(Path(path)))
        self._cards = cards[first:] if count is None else cards[first : first + count]
        if not self._cards:
            raise DeckError(
                f"Deck: {path}: no questions from number {first} on; it holds {len(cards)}"
            )
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

    def skip(self) -> None:
        """Leave out the next question: another load process drew it, or nobody will."""
        self._dealt += 1


def _check_number(name: str, value: object, *, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise DeckError(f"Deck({name}={value!r}): give a whole number, {least} or more")


def _read(path: Path) -> Iterator[Question]:
    """Read all questions; raises DeckError that names the file and the line at fault."""
    try:
        yield from _cards(path)
    except DeckError as error:
        raise DeckError(f"Deck: {error}") from error


def _cards(path: Path) -> Iterator[Question]:
    suffix = path.suffix.lower()
    if suffix not in _SHAPES:
        raise DeckError(f"{path}: a deck is a .jsonl or a .csv file")
    shape = _SHAPES[suffix]
    try:
        # utf-8-sig: spreadsheets begin a file with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, fields in (_rows if suffix == ".csv" else _objects)(file, path):
                text, answer = fields.get("text"), fields.get("answer")
                if not isinstance(text, str) or not text.strip():
                    problem = "'text' is missing" if text is None else f"'text' is {text!r}"
                    raise DeckError(f"{path}:{line}: {problem}; {shape}")
                if not isinstance(answer, str | None):
                    raise DeckError(f"{path}:{line}: 'answer' is {answer!r}, not text; {shape}")
                yield Question(text, answer or None)
    except OSError as error:
        raise DeckError(cannot_be_read(path, error)) from error
    except UnicodeDecodeError as error:
        raise DeckError(f"{path}: not text in UTF-8; save it as that") from error


def _objects(file: Iterable[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise DeckError(f"{path}:{number}: not JSON: {error}; {_SHAPES['.jsonl']}") from error
        if not isinstance(fields, dict):
            raise DeckError(f"{path}:{number}: not a JSON object; {_SHAPES['.jsonl']}")
        yield number, fields


def _rows(file: Iterable[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.DictReader(file, strict=True)
    try:
        if "text" not in (rows.fieldnames or ()):
            raise DeckError(f"{path}:1: no column is named 'text'; {_SHAPES['.csv']}")
        for row in rows:
            if None in row:
                raise DeckError(
                    f"{path}:{rows.line_num}: more fields than columns; put text that holds a "
                    "comma in double quotes"
                )
            yield rows.line_num, row
    except csv.Error as error:
        raise DeckError(f"{path}:{rows.reader.line_num}: not CSV: {error}") from error
