"""The documents that benchmarks run on: as many as asked for, the same every time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.corpus import ABSENT_WORD, COMMON_WORD, RARE_WORD, make_corpus

FILES = 300
SIZE_BYTES = 600_000


def holders(folder: Path, word: str) -> int:
    return sum(word in file.read_text() for file in folder.rglob("*") if file.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_corpus_has_the_files_and_bytes_asked_for(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "documents", FILES, SIZE_BYTES)

    found = contents(corpus.folder)
    assert sorted(found) == sorted(corpus.files)
    assert len(found) == FILES
    assert sum(map(len, found.values())) == corpus.size_bytes
    assert abs(corpus.size_bytes - SIZE_BYTES) < SIZE_BYTES / 100


def test_files_stand_in_areas_of_a_hundred_and_topics_of_ten(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "documents", FILES, SIZE_BYTES)

    assert corpus.areas == ("area-000", "area-001", "area-002")
    assert len(corpus.topics) == 30
    assert all(len(list((corpus.folder / topic).iterdir())) == 10 for topic in corpus.topics)


def test_words_are_common_rare_or_absent(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "documents", FILES, SIZE_BYTES).folder

    assert holders(folder, COMMON_WORD) == 75
    assert holders(folder, RARE_WORD) == 3
    assert holders(folder, ABSENT_WORD) == 0


def test_one_file_is_a_page_long_and_one_thirty_times_as_long(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "documents", FILES, SIZE_BYTES)

    page = (corpus.folder / corpus.page).stat().st_size
    large = (corpus.folder / corpus.large).stat().st_size
    assert round(large / page) == 30


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    first = contents(make_corpus(tmp_path / "first", 20, 40_000, seed=1).folder)

    assert contents(make_corpus(tmp_path / "again", 20, 40_000, seed=1).folder) == first
    assert contents(make_corpus(tmp_path / "other", 20, 40_000, seed=2).folder) != first
