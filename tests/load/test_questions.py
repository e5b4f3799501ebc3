"""Decks of questions: read strictly, dealt once, and shared out among processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.load.questions import Deck, Question

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


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        pytest.param("what?", "Expecting value", id="not JSON"),
        pytest.param('{"answer": "a"}', "'text'", id="no text"),
        pytest.param('["text"]', "list indices", id="not an object"),
    ],
)
def test_a_line_that_is_no_question_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "deck.jsonl"
    path.write_text('{"text": "good"}\n' + line + "\n")
    with pytest.raises(ValueError) as refused:
        Deck(path)
    assert str(refused.value).startswith(
        f"{path}:2: not a question: give a JSON object with 'text'"
    )
    assert problem in str(refused.value)


def test_a_deck_of_nothing_is_refused(deck_file: Path) -> None:
    with pytest.raises(ValueError) as refused:
        Deck(deck_file, first=7)
    assert str(refused.value) == f"{deck_file}: no questions from number 7 on"
