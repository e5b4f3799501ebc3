"""Decks of questions: read strictly, dealt once, and shared out among processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.load.questions import Deck, DeckError, Question

ROOT = Path(__file__).parents[2]


@pytest.fixture
def deck_file(tmp_path: Path) -> Path:
    path = tmp_path / "deck.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"q{i}", "answer": f"a{i}"}) + "\n" for i in range(7))
    )
    return path


def texts(deck: Deck, count: int) -> list[str]:
    return [deck.draw().text for _ in range(count)]


def test_questions_are_dealt_in_the_order_of_the_file(deck_file: Path) -> None:
    deck = Deck(deck_file)
    assert [deck.draw() for _ in range(2)] == [Question("q0", "a0"), Question("q1", "a1")]


def test_a_deck_may_be_a_part_of_the_file(deck_file: Path) -> None:
    assert [q.text for q in Deck(deck_file, first=2, count=3)] == ["q2", "q3", "q4"]
    assert [q.text for q in Deck(deck_file, first=5)] == ["q5", "q6"]


def test_looking_at_all_questions_deals_none(deck_file: Path) -> None:
    deck = Deck(deck_file)
    assert len(list(deck)) == 7
    assert deck.draw().text == "q0"


def test_with_repeat_it_starts_over(deck_file: Path) -> None:
    assert texts(Deck(deck_file, count=3, repeat=True), 7) == [
        "q0", "q1", "q2", "q0", "q1", "q2", "q0",
    ]  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_the_shares_of_all_processes_are_the_whole_deck_and_no_question_twice(
    deck_file: Path, processes: int
) -> None:
    dealt = []
    for index in range(processes):
        deck = Deck(deck_file)
        deck.split(index, processes)
        own = len(range(index, 7, processes))
        dealt += texts(deck, own)
    assert sorted(dealt) == [f"q{i}" for i in range(7)]


def test_who_takes_over_a_share_goes_on_where_the_other_left_it(deck_file: Path) -> None:
    deck = Deck(deck_file)
    deck.split(1, 2)
    deck.skip()
    assert texts(deck, 2) == ["q3", "q5"]


def test_a_new_load_deals_from_the_beginning_again(deck_file: Path) -> None:
    deck = Deck(deck_file)
    texts(deck, 7)
    deck.split(0, 1)
    assert texts(deck, 7) == [f"q{i}" for i in range(7)]


def test_a_deck_that_is_used_up_stops_the_user(deck_file: Path) -> None:
    # In a process of its own, since Locust's exception comes with all of Locust.
    script = (
        "from locust.exception import StopUser\n"
        "from pathlib import Path\n"
        "from harness.load import Deck\n"
        f"deck = Deck(Path({str(deck_file)!r}), count=1)\n"
        "deck.draw()\n"
        "try:\n"
        "    deck.draw()\n"
        "except StopUser as stop:\n"
        "    print(stop)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout == "all 1 questions were asked once\n"


def test_a_deck_may_come_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "deck.CSV"
    path.write_text('\ufeffid,text,answer\r\n1,"One, or two?",one\r\n\r\n2,Any?,\r\n', "utf-8")
    assert list(Deck(path)) == [Question("One, or two?", "one"), Question("Any?", None)]


def test_answers_are_optional_and_empty_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "deck.jsonl"
    path.write_text('{"text": "a", "answer": null, "id": 1}\n\n{"text": "b"}\n\n')
    assert list(Deck(path)) == [Question("a"), Question("b")]
    (tmp_path / "deck.csv").write_text("text\na\nb\n")
    assert list(Deck(tmp_path / "deck.csv")) == [Question("a"), Question("b")]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        pytest.param("d.jsonl", '{"text": "a"}\nwhat?\n', ":2: not JSON: Expecting value: line 1 column 1 (char 0); each line is a JSON object with 'text', and 'answer' where one is known", id="not JSON"),
        pytest.param("d.jsonl", '{"text": "a"}\n\n{"answer": "a"}\n', ":3: 'text' is missing; each line ", id="no text"),
        pytest.param("d.jsonl", '{"text": " "}\n', ":1: 'text' is ' '; each line ", id="a blank text"),
        pytest.param("d.jsonl", '{"text": "a", "answer": 4}\n', ":1: 'answer' is 4, not text; each line ", id="a number for an answer"),
        pytest.param("d.jsonl", '["text"]\n', ":1: not a JSON object; each line ", id="not an object"),
        pytest.param("d.csv", "question,answer\na,b\n", ":1: no column is named 'text'; the first row names the columns: 'text', and 'answer' where one is known", id="no column"),
        pytest.param("d.csv", "", ":1: no column is named 'text'; ", id="an empty file"),
        pytest.param("d.csv", "text,answer\na,b\n,c\n", ":3: 'text' is ''; the first row ", id="a row without text"),
        pytest.param("d.csv", "text,answer\na,b,c\n", ":2: more fields than columns; put text that holds a comma in double quotes", id="a comma too many"),
        pytest.param("d.csv", 'text,answer\n"a,b\n', ":2: not CSV: unexpected end of data", id="an open quote"),
        pytest.param("d.yaml", "text: a\n", ": a deck is a .jsonl or a .csv file", id="another kind of file"),
    ],
)  # fmt: skip
def test_what_is_no_question_is_named_by_file_and_line(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DeckError) as refused:
        Deck(path)
    assert str(refused.value).startswith(f"Deck: {path}{problem}")


def test_a_deck_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeckError) as refused:
        Deck(tmp_path / "none.csv")
    assert str(refused.value) == (
        f"Deck: {tmp_path}/none.csv: cannot be read: No such file or directory"
    )
    (tmp_path / "latin.csv").write_bytes(b"text\n\xff\n")
    with pytest.raises(DeckError) as refused:
        Deck(tmp_path / "latin.csv")
    assert str(refused.value) == f"Deck: {tmp_path}/latin.csv: not text in UTF-8; save it as that"


def test_a_deck_of_nothing_is_refused(deck_file: Path) -> None:
    with pytest.raises(ValueError) as refused:
        Deck(deck_file, first=7)
    assert str(refused.value).startswith(f"Deck: {deck_file}: no questions from number 7 on; ")


def test_a_path_may_be_plain_text(deck_file: Path) -> None:
    assert list(Deck(str(deck_file))) == list(Deck(deck_file))


def test_a_deck_sought_in_another_folder_says_how_it_is_found() -> None:
    with pytest.raises(DeckError) as refused:
        Deck("none-here.csv")
    assert str(refused.value) == (
        f"Deck: none-here.csv: cannot be read: No such file or directory in {Path.cwd()}; "
        "write Path(__file__).with_name('none-here.csv') in a scenario"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param({"path": 5}, "(5): give the path of a .jsonl or .csv file", id="a number"),
        pytest.param({"first": -1}, "(first=-1): give a whole number, 0 or more", id="before all"),
        pytest.param({"count": 0}, "(count=0): give a whole number, 1 or more", id="none"),
        pytest.param({"count": 1.5}, "(count=1.5): give a whole number, 1 or more", id="halves"),
        pytest.param({"count": True}, "(count=True): give a whole number, 1 or more", id="truth"),
    ],
)
def test_a_declaration_that_cannot_be_right_is_named(
    deck_file: Path, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DeckError) as refused:
        Deck(**{"path": deck_file, **arguments})
    assert str(refused.value) == f"Deck{problem}"
