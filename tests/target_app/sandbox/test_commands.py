"""What each command writes, and where it stops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from target_app.sandbox import commands
from target_app.sandbox.commands import (
    CommandFailedError,
    CommandTimeoutError,
    FileTooLargeError,
    Limits,
    Output,
    OutputFullError,
)
from target_app.sandbox.paths import DataRoot, Opened

Command = Callable[[Opened, Output], None]

ROOMY = Limits(10_000, 10_000, 30)


def run(root: Path, path: str, command: Command, limits: Limits = ROOMY) -> str:
    output = Output.start(limits)
    with DataRoot(root).open(path) as opened:
        try:
            command(opened, output)
        except OutputFullError:
            return f"{output.text()}<full>"
    return output.text()


@pytest.mark.parametrize(
    ("path", "command", "written"),
    [
        pytest.param(".", commands.ls, "readme.md\nteams/", id="ls a folder"),
        pytest.param("readme.md", commands.ls, "readme.md", id="ls a file"),
        pytest.param(
            ".", partial(commands.ls, hidden=True), ".draft/\nreadme.md\nteams/", id="ls dot files"
        ),
        pytest.param(
            ".",
            partial(commands.find, name_pattern="*.txt"),
            "teams/blue.txt\nteams/red.txt",
            id="find by pattern",
        ),
        pytest.param("teams", commands.find, "teams/blue.txt\nteams/red.txt", id="find beneath"),
        pytest.param(".", partial(commands.find, kind="d"), ".draft\nteams", id="find folders"),
        pytest.param(
            ".", partial(commands.find, name_pattern="blue", kind="f"), "", id="find nothing"
        ),
        pytest.param("readme.md", commands.find, "readme.md", id="find on a file"),
        pytest.param(
            ".",
            partial(commands.grep, literals=("alpha",)),
            "readme.md:1:alpha\nteams/blue.txt:1:Blue keeps alpha running",
            id="grep a tree",
        ),
        pytest.param(
            ".",
            partial(commands.grep, literals=("alpha",), recursive=False),
            "readme.md:1:alpha",
            id="grep one folder",
        ),
        pytest.param(
            "readme.md",
            partial(commands.grep, literals=("alpha", "gamma")),
            "readme.md:1:alpha\nreadme.md:3:gamma",
            id="grep alternatives in a file",
        ),
        pytest.param(
            "teams",
            partial(commands.grep, literals=("BETA",), ignore_case=True),
            "teams/red.txt:1:Red ships beta",
            id="grep whatever the case",
        ),
        pytest.param(
            ".", partial(commands.grep, literals=("a.*a",)), "", id="grep takes a dot for a dot"
        ),
        pytest.param("readme.md", commands.cat, "alpha\nbeta\ngamma", id="cat"),
        pytest.param("readme.md", partial(commands.head, lines=2), "alpha\nbeta", id="head"),
        pytest.param(
            "readme.md", partial(commands.head, lines=9), "alpha\nbeta\ngamma", id="head of less"
        ),
        pytest.param("readme.md", partial(commands.tail, lines=2), "beta\ngamma", id="tail"),
        pytest.param(
            "readme.md", partial(commands.tail, lines=9), "alpha\nbeta\ngamma", id="tail of less"
        ),
    ],
)
def test_what_is_written(documents: Path, path: str, command: Command, written: str) -> None:
    (documents / ".draft").mkdir()

    assert run(documents, path, command) == written


@pytest.mark.parametrize(
    ("path", "command", "reason"),
    [
        pytest.param("missing", commands.ls, "missing: no such file or folder", id="ls nothing"),
        pytest.param("missing", commands.cat, "missing: no such file or folder", id="cat nothing"),
        pytest.param("teams", commands.cat, "teams is a folder; use ls", id="cat a folder"),
        pytest.param("teams", commands.tail, "teams is a folder; use ls", id="tail a folder"),
        pytest.param("image", commands.cat, "image is a binary file", id="cat a binary file"),
    ],
)
def test_what_cannot_be_done(documents: Path, path: str, command: Command, reason: str) -> None:
    (documents / "image").write_bytes(b"\x89PNG\0\0")

    with pytest.raises(CommandFailedError) as failed:
        run(documents, path, command)

    assert str(failed.value) == reason


def test_grep_passes_over_binary_and_oversized_files(documents: Path) -> None:
    (documents / "image").write_bytes(b"alpha\0")
    (documents / "huge.log").write_text("alpha\n" * 100)

    found = run(
        documents, ".", partial(commands.grep, literals=("alpha",)), Limits(10_000, 500, 30)
    )

    assert found == "readme.md:1:alpha\nteams/blue.txt:1:Blue keeps alpha running"


def test_ls_marks_links_and_shows_sizes(documents: Path) -> None:
    (documents / "teams" / "way-out").symlink_to("/etc")

    listed = run(documents, "teams", partial(commands.ls, details=True)).split("\n")

    assert [line.split("  ")[-1] for line in listed] == ["blue.txt", "red.txt", "way-out@"]
    assert listed[0].startswith("          25  ")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param("12345\n7890", "12345\n7890", id="ten bytes fit"),
        pytest.param("12345\n78901", "12345\n7890<full>", id="the eleventh does not"),
        pytest.param("x" * 20, "xxxxxxxxxx<full>", id="a long line is cut"),
        pytest.param("123456789\N{EURO SIGN}", "123456789<full>", id="no character is halved"),
    ],
)
def test_the_output_stops_at_its_limit(documents: Path, text: str, written: str) -> None:
    (documents / "note").write_text(text)

    assert run(documents, "note", commands.cat, Limits(10, 1000, 30)) == written


def test_a_file_above_the_limit_is_not_read_whole(documents: Path) -> None:
    (documents / "big").write_text("0123456789\n" * 10)
    limits = Limits(1000, 100, 30)

    with pytest.raises(FileTooLargeError) as refused:
        run(documents, "big", commands.cat, limits)

    assert str(refused.value) == (
        "big has 110 bytes and at most 100 may be read whole; use head, tail or grep"
    )
    assert run(documents, "big", partial(commands.tail, lines=1), limits) == "0123456789"


def test_head_and_tail_of_a_large_file_read_across_chunks(documents: Path) -> None:
    lines = [f"line {number:06}" for number in range(20_000)]
    (documents / "big").write_text("\n".join(lines))
    limits = Limits(1_000_000, 1, 30)

    assert run(documents, "big", partial(commands.head, lines=9_000), limits) == "\n".join(
        lines[:9_000]
    )
    assert run(documents, "big", partial(commands.tail, lines=9_000), limits) == "\n".join(
        lines[-9_000:]
    )


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(commands.ls, id="ls"),
        pytest.param(commands.find, id="find"),
        pytest.param(partial(commands.grep, literals=("alpha",)), id="grep"),
    ],
)
def test_a_command_past_its_deadline_stops(documents: Path, command: Command) -> None:
    with pytest.raises(CommandTimeoutError) as stopped:
        run(documents, ".", command, Limits(1000, 1000, 0))

    assert str(stopped.value) == "stopped after 0 s"


def test_a_name_that_is_not_utf8_is_shown_with_a_question_mark(documents: Path) -> None:
    (documents / "teams" / "caf\udce9").write_text("")

    assert run(documents, "teams", commands.find) == "teams/blue.txt\nteams/caf?\nteams/red.txt"
