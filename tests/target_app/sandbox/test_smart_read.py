"""smart_read: which way of reading suits which size."""

from __future__ import annotations

from pathlib import Path

import pytest

from target_app.sandbox.output import Limits
from tests.target_app.sandbox.conftest import Run

LIMITS = Limits(10_000, 10_000, 30, small_file_bytes=100, medium_file_bytes=1000)


def lines(count: int) -> str:
    return "".join(f"line {number:03}\n" for number in range(count))


def test_a_small_file_is_read_whole(run: Run) -> None:
    execution = run("smart_read", "readme.md", LIMITS, query="nowhere")

    assert execution.stdout == "alpha\nbeta\ngamma"
    assert execution.note == "whole file, 17 bytes"


def test_a_medium_file_is_searched_for_the_query(documents: Path, run: Run) -> None:
    (documents / "medium").write_text(lines(50))

    execution = run("smart_read", "medium", LIMITS, query="LINE 01", max_lines=3)

    assert execution.stdout == "11:line 010\n12:line 011\n13:line 012"
    assert execution.note == (
        "the 3 lines holding the query, of a file of 450 bytes; there are more than 3"
    )


@pytest.mark.parametrize(
    ("count", "query", "note"),
    [
        pytest.param(50, None, "of a file of 450 bytes", id="a medium file without a query"),
        pytest.param(200, "line", "of a file of 1800 bytes", id="a large file"),
    ],
)
def test_else_its_beginning_and_its_end_are_read(
    documents: Path, run: Run, count: int, query: str | None, note: str
) -> None:
    (documents / "large").write_text(lines(count))

    execution = run("smart_read", "large", LIMITS, query=query, max_lines=4)

    assert execution.stdout.split("\n") == [
        "line 000",
        "line 001",
        f"[{9 * (count - 4)} bytes left out]",
        f"line {count - 2:03}",
        f"line {count - 1:03}",
    ]
    assert execution.note == f"the beginning and the end, {note}"


def test_what_is_at_both_ends_is_read_once(documents: Path, run: Run) -> None:
    (documents / "medium").write_text(lines(20))

    execution = run("smart_read", "medium", LIMITS, max_lines=1000)

    assert execution.stdout == lines(20).removesuffix("\n")


def test_either_end_has_half_of_the_output(documents: Path, run: Run) -> None:
    (documents / "endless").write_text("a" * 5000 + "z" * 5000)
    limits = Limits(1000, 10_000, 30, small_file_bytes=100)

    beginning, left_out, end = run("smart_read", "endless", limits).stdout.split("\n")

    assert (beginning, end) == ("a" * 450, "z" * 450)
    assert left_out == "[9100 bytes left out]"
