"""cat, head, tail, wc and preview: what they write, and where they stop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from target_app.sandbox.output import Limits
from tests.target_app.sandbox.conftest import ROOMY, Run

LARGE = 100 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "options", "written"),
    [
        pytest.param("cat", {}, "alpha\nbeta\ngamma", id="cat"),
        pytest.param("head", {"lines": 2}, "alpha\nbeta", id="head"),
        pytest.param("head", {"lines": 9}, "alpha\nbeta\ngamma", id="head of less"),
        pytest.param("tail", {"lines": 2}, "beta\ngamma", id="tail"),
        pytest.param("tail", {"lines": 9}, "alpha\nbeta\ngamma", id="tail of less"),
        pytest.param("wc", {}, "3 3 17 readme.md", id="wc"),
        pytest.param("wc", {"lines_only": True}, "3 readme.md", id="wc of lines"),
    ],
)
def test_what_is_written(run: Run, name: str, options: dict[str, Any], written: str) -> None:
    execution = run(name, "readme.md", **options)

    assert (execution.status, execution.stdout, execution.note) == ("success", written, "")
    assert execution.lasting


@pytest.mark.parametrize("name", ["cat", "head", "tail", "wc", "preview", "smart_read"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("missing", "missing: no such file or folder", id="nothing"),
        pytest.param("teams", "teams is a folder; use ls", id="a folder"),
    ],
)
def test_what_is_no_file_cannot_be_read(run: Run, name: str, path: str, reason: str) -> None:
    execution = run(name, path)

    assert (execution.status, execution.error, execution.return_code) == ("error", reason, 1)
    assert execution.lasting


@pytest.mark.parametrize("name", ["cat", "head", "tail", "smart_read"])
def test_a_binary_file_is_not_shown(documents: Path, run: Run, name: str) -> None:
    (documents / "image").write_bytes(b"\x89PNG\0\0")

    assert run(name, "image").error == "image is a binary file"


@pytest.mark.parametrize(
    ("text", "written", "note"),
    [
        pytest.param("12345\n7890", "12345\n7890", "", id="ten bytes fit"),
        pytest.param("12345\n7890\n", "12345\n7890", "", id="the last line break is not counted"),
        pytest.param(
            "12345\n78901", "12345\n7890", "output cut at 10 bytes", id="the eleventh does not"
        ),
        pytest.param("x" * 20, "xxxxxxxxxx", "output cut at 10 bytes", id="a long line is cut"),
        pytest.param(
            "123456789\N{EURO SIGN}", "123456789", "output cut at 10 bytes",
            id="no character is halved",
        ),
        pytest.param("", "", "", id="nothing"),
        pytest.param("\n\n", "\n", "", id="empty lines"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["cat", "head", "smart_read"])
def test_the_output_stops_at_its_limit(
    documents: Path, run: Run, name: str, text: str, written: str, note: str
) -> None:
    (documents / "note").write_text(text)

    execution = run(name, "note", Limits(10, 1000, 30))

    assert execution.stdout == written
    assert execution.note.startswith(note)
    assert ("cut" in execution.note) == ("cut" in note)


def test_what_is_not_utf8_is_replaced(documents: Path, run: Run) -> None:
    (documents / "latin").write_bytes(b"caf\xe9\n")

    assert run("cat", "latin").stdout == "caf\N{REPLACEMENT CHARACTER}"


def test_a_file_above_the_limit_is_not_read_whole(documents: Path, run: Run) -> None:
    (documents / "big").write_text("0123456789\n" * 10)
    limits = Limits(1000, 100, 30)

    refused = run("cat", "big", limits)

    assert (refused.status, refused.blocked, refused.lasting) == ("error", "file_too_large", False)
    assert refused.error == (
        "big has 110 bytes and at most 100 may be read whole; use head, tail or grep"
    )
    assert run("tail", "big", limits, lines=1).stdout == "0123456789"


def test_head_and_tail_of_a_large_file_read_across_chunks(documents: Path, run: Run) -> None:
    lines = [f"line {number:06}" for number in range(20_000)]
    (documents / "big").write_text("\n".join(lines))
    limits = Limits(1_000_000, 1, 30)

    assert run("head", "big", limits, lines=9_000).stdout == "\n".join(lines[:9_000])
    assert run("tail", "big", limits, lines=9_000).stdout == "\n".join(lines[-9_000:])


def test_words_are_counted_across_chunks(documents: Path, run: Run) -> None:
    (documents / "words").write_text("word " * 30_000 + "w" * 100_000 + "\n")

    assert run("wc", "words").stdout == f"1 30001 {30_000 * 5 + 100_001} words"


def test_a_large_sparse_file_is_counted_and_never_shown(documents: Path, run: Run) -> None:
    with (documents / "sparse").open("wb") as file:
        file.truncate(LARGE)

    assert run("wc", "sparse", lines_only=True).stdout == "0 sparse"
    assert run("cat", "sparse").blocked == "file_too_large"
    assert run("head", "sparse").error == "sparse is a binary file"
    assert run("preview", "sparse").stdout.split("\n")[1] == f"size: {LARGE} bytes"
    assert run("grep", "sparse", pattern="x").note == "sparse is a binary file"


def test_one_endless_line_is_cut(documents: Path, run: Run) -> None:
    with (documents / "endless").open("wb") as file:
        file.write(b"x" * 5000)
        file.truncate(LARGE)
    limits = Limits(1000, LARGE, 30)

    for name in ("cat", "head"):
        execution = run(name, "endless", limits)

        assert (execution.stdout, execution.note) == ("x" * 1000, "output cut at 1000 bytes")
    assert len(run("tail", "endless", limits).stdout) <= 1000


def test_a_preview_says_what_the_file_is(documents: Path, run: Run) -> None:
    os.utime(documents / "readme.md", (0, 0))

    assert run("preview", "readme.md", lines=2).stdout == (
        "path: readme.md\nsize: 17 bytes\nmodified: 1970-01-01 00:00 UTC\nlines: 3\n\nalpha\nbeta"
    )


def test_a_preview_of_a_binary_file_does_without_text(documents: Path, run: Run) -> None:
    (documents / "image").write_bytes(b"\x89PNG\0\0")

    assert run("preview", "image").stdout.split("\n")[-1] == "lines: none, the file is binary"


def test_a_preview_does_not_count_the_lines_of_a_large_file(documents: Path, run: Run) -> None:
    limits = Limits(1000, 1000, 30, small_file_bytes=10)

    assert (
        "lines: not counted, the file is large\n\nalpha"
        in run("preview", "readme.md", limits).stdout
    )


def test_a_preview_shows_at_most_500_lines(documents: Path, run: Run) -> None:
    (documents / "long").write_text("line\n" * 1000)

    assert run("preview", "long", lines=1000).stdout.split("\n")[4:] == ["", *["line"] * 500]


@pytest.mark.parametrize("name", ["cat", "head", "tail", "wc", "preview", "smart_read"])
def test_a_command_past_its_deadline_stops(run: Run, name: str) -> None:
    limits = Limits(ROOMY.output_bytes, ROOMY.file_bytes, 0)

    execution = run(name, "readme.md", limits)

    assert (execution.status, execution.return_code, execution.lasting) == ("timeout", 124, False)
    assert execution.error == "stopped after 0 s"
