"""A generation changes for everybody at once, and never comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from target_app.cache.generation import Generation


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Generation, Generation]]:
    here, there = Generation(), Generation()
    here.share(tmp_path / "generation")
    there.share(tmp_path / "generation")
    yield here, there
    here.close()
    there.close()


def test_all_who_share_it_see_the_same_number(pair: tuple[Generation, Generation]) -> None:
    here, there = pair
    before = here.now()

    here.advance()

    assert before != here.now() == there.now()


def test_advancing_always_gives_another_number(pair: tuple[Generation, Generation]) -> None:
    numbers = [pair[0].now()]
    for generation in pair * 20:
        generation.advance()
        numbers.append(pair[0].now())

    assert len(set(numbers)) == len(numbers)


def test_it_outlives_who_shared_it(tmp_path: Path) -> None:
    first = Generation()
    first.share(tmp_path / "generation")
    number = first.now()
    first.close()

    second = Generation()
    second.share(tmp_path / "generation")

    assert second.now() == number
    second.close()


@pytest.mark.parametrize("damage", [b"", b"123", b"123456789"], ids=["empty", "short", "long"])
def test_a_damaged_file_gets_a_new_number(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "generation"
    path.write_bytes(damage)

    generation = Generation()
    generation.share(path)

    assert generation.now() > 1_700_000_000_000_000_000
    generation.close()


def test_a_file_cut_short_while_in_use_harms_nobody(tmp_path: Path) -> None:
    generation = Generation()
    generation.share(tmp_path / "generation")
    before = generation.now()

    (tmp_path / "generation").write_bytes(b"")

    assert generation.now() != before
    generation.close()


def test_without_a_file_it_is_a_number_of_its_own() -> None:
    alone = Generation()
    before = alone.now()

    alone.advance()

    assert alone.now() != before


def test_a_file_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Generation().share(tmp_path / "no folder" / "generation")
