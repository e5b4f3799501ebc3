"""
A folder of documents to measure on: areas of 100 files, in topics of 10.

The same arguments give the same bytes. Most files are about as long as a page of documentation;
one in FILES_A_LARGE is thirty times as long, as logs and tables are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

COMMON_WORD = "TODO"
"""Stands in every fourth file, several times."""

RARE_WORD = "xylophonist"
"""Stands once in every hundredth file."""

ABSENT_WORD = "quagmireless"
"""Stands in no file."""

FILES_A_TOPIC = 10
FILES_AN_AREA = 100
FILES_A_LARGE = 43
LARGE_WEIGHT = 30

_ENDINGS = ("md", "txt", "md", "csv", "md", "log", "md", "yaml", "md", "json")
_POOL_CHARACTERS = 1_000_000
_SYLLABLES = (
    "ka", "lo", "mer", "ti", "sun", "dra", "ve", "pol", "is", "an", "tor", "qui", "ber", "o",
    "gen", "ma", "lin", "da", "us", "fer",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Corpus:
    """
    Where the documents are. Paths are relative to `folder`, with slashes.

    `page` and `large` are one file each of the two lengths.
    """

    folder: Path
    files: tuple[str, ...]
    topics: tuple[str, ...]
    areas: tuple[str, ...]
    page: str
    large: str
    size_bytes: int


def make_corpus(
    folder: Path, files: int = 2000, bytes_total: int = 30_000_000, seed: int = 7
) -> Corpus:
    """Write `files` documents of about `bytes_total` bytes together into a new folder."""
    draws = random.Random(seed)  # noqa: S311 - text, not secrets
    pool = _prose(draws)
    weights = [_weight(index, draws) for index in range(files)]
    unit = bytes_total / sum(weights)
    names = tuple(_name(index) for index in range(files))
    size_bytes = 0
    for index, (name, weight) in enumerate(zip(names, weights, strict=True)):
        file = folder / name
        if index % FILES_A_TOPIC == 0:
            file.parent.mkdir(parents=True)
        text = _document(index, name, int(weight * unit), pool, draws)
        file.write_bytes(text)
        size_bytes += len(text)
    topics = tuple(dict.fromkeys(name.rpartition("/")[0] for name in names))
    areas = tuple(dict.fromkeys(name.partition("/")[0] for name in names))
    large = names[min(FILES_A_LARGE, files) - 1]
    return Corpus(folder, names, topics, areas, first_file(), large, size_bytes)


def first_file() -> str:
    """Name the file that every corpus has, of the length of a page."""
    return _name(0)


def _name(index: int) -> str:
    area, topic = index // FILES_AN_AREA, index % FILES_AN_AREA // FILES_A_TOPIC
    return f"area-{area:03d}/topic-{topic}/note-{index:05d}.{_ENDINGS[index % len(_ENDINGS)]}"


def _weight(index: int, draws: random.Random) -> float:
    if index % FILES_A_LARGE == FILES_A_LARGE - 1:
        return LARGE_WEIGHT
    return 1.0 if index == 0 else draws.uniform(0.6, 1.4)


def _prose(draws: random.Random) -> bytes:
    """Make one long text in lines of about 80 characters; documents are pieces of it."""
    words = ["".join(draws.choices(_SYLLABLES, k=draws.randint(1, 4))) for _ in range(4000)]
    lines = []
    left = _POOL_CHARACTERS
    while left > 0:
        line = " ".join(draws.choices(words, k=draws.randint(6, 14))) + "."
        lines.append(line)
        left -= len(line) + 1
    return "\n".join(lines).encode()


def _document(index: int, name: str, size: int, pool: bytes, draws: random.Random) -> bytes:
    """Put a heading, the words to be found and a piece of the prose together."""
    lines = [f"# {name}".encode()]
    if index % 4 == 0:
        lines += [f"{COMMON_WORD} {number}: ask again".encode() for number in range(6)]
    if index % 100 == 50:
        lines.append(f"The {RARE_WORD} plays in {name}.".encode())
    heading = b"\n".join(lines) + b"\n"
    # A piece may be longer than the prose is: then it goes round.
    wanted = max(0, size - len(heading) - 1)
    start = draws.randrange(len(pool))
    times = (start + wanted) // len(pool) + 1
    return heading + (pool * times)[start : start + wanted] + b"\n"
