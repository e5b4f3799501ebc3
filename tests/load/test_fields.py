"""Paths into JSON answers, and what is made of what lies there."""

from __future__ import annotations

from typing import Any

import pytest

from harness.load.apis.filesystem_agent import FilesystemAgent
from harness.load.chat_api import Answer, BadAnswerError
from harness.load.fields import checked, count, document, look_up, path_of, shown, word

TOLD = {"a": {"b": [1, {"c-d e": "x"}]}, "n": None}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.b[0]", 1),
        ("a.b[1].c-d e", "x"),
        ("a.b[-1].c-d e", "x"),
        ("a.b[-3]", None),
        ("a.b[2]", None),
        ("a.b.c", None),
        ("a[0]", None),
        ("n.x", None),
    ],
)
def test_a_path_leads_to_a_value_or_to_nothing(text: str, found: Any) -> None:
    assert look_up(TOLD, path_of(text)) == found


def test_a_path_may_begin_in_a_list() -> None:
    assert look_up([[1, 2]], path_of("[0][1]")) == 2


@pytest.mark.parametrize(
    "text", ["", ".a", "a.", "a..b", "a[", "a[]", "a[x]", "a]", "[0]a", 3, None]
)
def test_what_is_no_path_is_refused(text: object) -> None:
    with pytest.raises(ValueError) as refused:
        path_of(text)
    assert str(refused.value) == (
        f"{text!r} is not a path; write it like choices[0].message.content"
    )


@pytest.mark.parametrize("value", ["9", 1.5, True, -1, [], {}])
def test_only_whole_numbers_are_counts(value: object) -> None:
    assert (count(0, "n"), count(7, "n"), count(None, "n")) == (0, 7, None)
    with pytest.raises(BadAnswerError) as bad:
        count(value, "n")
    assert str(bad.value) == f"the field 'n' is {value!r}, not a count"


@pytest.mark.parametrize(
    ("value", "name"),
    [("s-1", "s-1"), (7, "7"), ("", None), (None, None), (True, None), ([], None)],
)
def test_names_are_texts_or_numbers(value: object, name: str | None) -> None:
    assert word(value) == name


def test_a_document_may_be_too_deep_to_read() -> None:
    with pytest.raises(BadAnswerError):
        document("[" * 100_000)


def test_a_long_value_is_shown_by_its_beginning() -> None:
    assert shown("a" * 1000) == "'" + "a" * 79 + "..."


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        pytest.param(None, "None, not an Answer", id="nothing"),
        pytest.param(Answer(text=5), "text=5, not text", id="a text"),  # type: ignore[arg-type]
        pytest.param(
            Answer(text="", input_tokens=1.5),  # type: ignore[arg-type]
            "input_tokens=1.5, not a count (or None)",
            id="half a token",
        ),
        pytest.param(
            Answer(text="", llm_calls=True), "llm_calls=True, not a count (or None)", id="truth"
        ),
        pytest.param(
            Answer(text="", output_tokens=-1),
            "output_tokens=-1, not a count (or None)",
            id="debts",
        ),
        pytest.param(
            Answer(text="", session_id=7),  # type: ignore[arg-type]
            "session_id=7, not text (or None)",
            id="a session",
        ),
    ],
)
def test_what_an_api_reads_is_an_answer_or_its_mistake(read: Answer, problem: str) -> None:
    with pytest.raises(BadAnswerError) as bad:
        checked(read, FilesystemAgent())
    assert str(bad.value) == f"FilesystemAgent read {problem}"


def test_an_answer_as_it_should_be_is_left_alone() -> None:
    told = Answer("four", "s-1", 1, 2**53 - 1, 0, None, "m")
    assert checked(told, FilesystemAgent()) is told
