"""grep and scan: what they find, what they pass over, and that no pattern is dangerous."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from target_app.sandbox.commands import lines
from target_app.sandbox.output import Limits
from tests.target_app.sandbox.conftest import ROOMY, Run


@pytest.mark.parametrize(
    ("path", "options", "written"),
    [
        pytest.param(
            ".", {"pattern": "alpha"},
            "readme.md:1:alpha\nteams/blue.txt:1:Blue keeps alpha running", id="a tree",
        ),
        pytest.param(
            ".", {"pattern": "alpha", "recursive": False}, "readme.md:1:alpha", id="one folder"
        ),
        pytest.param(
            "readme.md", {"pattern": "alpha|gamma", "regex": True},
            "readme.md:1:alpha\nreadme.md:3:gamma", id="alternatives in a file",
        ),
        pytest.param(
            "teams", {"pattern": "BETA", "ignore_case": True},
            "teams/red.txt:1:Red ships beta", id="whatever the case",
        ),
        pytest.param(".", {"pattern": "a.*a"}, "", id="a fixed string takes a dot for a dot"),
        pytest.param(
            "readme.md", {"pattern": "^.{4}$", "regex": True}, "readme.md:2:beta",
            id="anchors are those of a line",
        ),
        pytest.param(
            "readme.md", {"pattern": "a$|^g", "regex": True},
            "readme.md:1:alpha\nreadme.md:2:beta\nreadme.md:3:gamma", id="every line once",
        ),
        pytest.param(
            "readme.md", {"pattern": "x*", "regex": True},
            "readme.md:1:alpha\nreadme.md:2:beta\nreadme.md:3:gamma", id="the empty match",
        ),
        pytest.param(
            "readme.md", {"pattern": "[^z]beta|a[^z]b", "regex": True}, "",
            id="no match goes beyond a line",
        ),
        pytest.param("readme.md", {"pattern": "/api/chat"}, "", id="a pattern is never a path"),
        pytest.param("readme.md", {"pattern": "-R"}, "", id="a pattern is never an option"),
    ],
)  # fmt: skip
def test_what_is_found(run: Run, path: str, options: dict[str, Any], written: str) -> None:
    execution = run("grep", path, **options)

    assert (execution.status, execution.stdout) == ("success", written)
    assert execution.return_code == (0 if written else 1)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        pytest.param("a(b", "bad regular expression: missing ): a(b", id="unbalanced"),
        pytest.param(r"(a)\1", r"bad regular expression: invalid escape sequence: \1", id="back"),
        pytest.param(
            "(?=a)", "bad regular expression: invalid perl operator: (?=", id="looking ahead"
        ),
        pytest.param(
            "(x{1000}){1000}", "bad regular expression: invalid repetition size: {1000}",
            id="a million repetitions",
        ),
        pytest.param(
            "x" * 1001, "a pattern has at most 1000 characters", id="a long pattern"
        ),
        pytest.param("a\nb", "a pattern must be on one line", id="two lines"),
        pytest.param("\ud83d", "a pattern must be text that UTF-8 can write", id="half a letter"),
        pytest.param(
            r"\Aalpha", r"\A and \z are not supported, because lines are searched; use ^ and $",
            id="the beginning of the text",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["grep", "scan"])
def test_a_bad_pattern_is_named(run: Run, name: str, pattern: str, reason: str) -> None:
    execution = run(name, "readme.md", pattern=pattern, regex=True)

    assert (execution.status, execution.error) == ("error", reason)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(.*a){20}b", r"((a?){30}){10}z"])
def test_a_pattern_that_explodes_elsewhere_is_answered(
    documents: Path, run: Run, pattern: str
) -> None:
    (documents / "bomb").write_text("a" * 30_000 + "!\n")

    assert run("grep", "bomb", pattern=pattern, regex=True).return_code == 1


def test_the_larger_a_pattern_the_smaller_the_blocks_it_is_searched_in() -> None:
    small = lines.compile_pattern("alpha", regex=True, ignore_case=False)
    large = lines.compile_pattern(r"(\w{1,500}\s){2}zz", regex=True, ignore_case=False)

    assert small.block_bytes == 1024 * 1024
    assert 4096 <= large.block_bytes < 16_384


def test_binary_and_oversized_files_are_passed_over(documents: Path, run: Run) -> None:
    (documents / "image").write_bytes(b"alpha\0")
    (documents / "huge.log").write_text("alpha\n" * 100)
    os.mkfifo(documents / "pipe")
    (documents / "way-out").symlink_to("../secret.txt")

    found = run("grep", ".", Limits(10_000, 500, 30), pattern="alpha|secret", regex=True)

    assert found.stdout == "readme.md:1:alpha\nteams/blue.txt:1:Blue keeps alpha running"
    assert found.note == "passed over: 1 files above 500 bytes"
    # Asked for by name, a file of any size is searched.
    assert run("grep", "huge.log", Limits(50, 500, 30), pattern="alpha").stdout.startswith(
        "huge.log:1:alpha\nhuge.log:2:alpha"
    )


def test_of_a_long_line_the_part_around_the_match_is_shown(documents: Path, run: Run) -> None:
    (documents / "long").write_text("\N{EURO SIGN}" * 3000 + "needle" + "y" * 9000 + "\nneedle\n")

    execution = run("grep", "long", pattern="needle")

    first, second = execution.stdout.split("\n")
    assert first.startswith("long:1:\N{EURO SIGN}")
    assert "needleyyy" in first
    assert "\N{REPLACEMENT CHARACTER}" not in first
    assert len(first.encode()) == len("long:1:") + 2000
    assert second == "long:2:needle"
    assert execution.note == "lines above 2000 bytes cut"


@pytest.mark.parametrize("block_bytes", [3, 7, 16, 64, 1000])
def test_a_file_read_in_blocks_gives_the_same_lines(
    documents: Path, run: Run, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    text = "".join(f"{'x' * (number % 9)}{number}\n" for number in range(100)) + "last 7"
    (documents / "numbers").write_text(text)
    wanted = [
        f"numbers:{number}:{line}"
        for number, line in enumerate(text.split("\n"), start=1)
        if "7" in line
    ]
    monkeypatch.setattr(lines, "_MIN_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(lines, "_MAX_BLOCK_BYTES", block_bytes)

    found = run("grep", "numbers", pattern="7").stdout.split("\n")

    # Of a line longer than a block a piece is shown, but the line is found, once.
    assert [line.split(":")[1] for line in found] == [line.split(":")[1] for line in wanted]
    if block_bytes >= 16:
        assert found == wanted


def test_a_large_file_is_searched_in_bounded_memory(documents: Path, run: Run) -> None:
    with (documents / "large").open("wb") as file:
        file.write(b"line\n" * 1000)
        file.truncate(50_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\nneedle\n")

    tracemalloc.start()
    found = run("grep", "large", pattern="^needle$", regex=True)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.stdout == "large:1002:needle"
    assert peak_bytes < 8_000_000


def test_grep_stops_at_the_output_limit(documents: Path, run: Run) -> None:
    (documents / "many").write_text("alpha\n" * 1000)

    found = run("grep", "many", Limits(100, ROOMY.file_bytes, 30), pattern="alpha")

    assert len(found.stdout) == 100
    assert found.note == "output cut at 100 bytes"


@pytest.mark.parametrize("path", [".", "readme.md"])
def test_grep_past_its_deadline_stops(run: Run, path: str) -> None:
    limits = Limits(ROOMY.output_bytes, ROOMY.file_bytes, 0)

    assert run("grep", path, limits, pattern="alpha").status == "timeout"


def steps(run: Run, path: str, limits: Limits = ROOMY, **options: Any) -> list[list[Any]]:
    """Scan a file to its end, and answer what each step said."""
    answers = []
    state = {"offset": 0, "line_number": 1}
    while True:
        execution = run("scan", path, limits, **{**options, **state})
        assert execution.error is None
        *found, last = [json.loads(line) for line in execution.stdout.split("\n")]
        answers.append([*found, last])
        if last["end"]:
            return answers
        assert last["next_offset"] > state["offset"]
        state = {"offset": last["next_offset"], "line_number": last["next_line_number"]}


def test_one_step_of_a_scan(documents: Path, run: Run) -> None:
    (documents / "note").write_text("one\nGrüße, two\ntwo two\n")

    assert steps(run, "note", pattern="t[a-z]o") == [
        [
            {"line_number": 2, "line_content": "Grüße, two", "match_start": 7, "match_end": 10},
            {"line_number": 3, "line_content": "two two", "match_start": 0, "match_end": 3},
            {"next_offset": 25, "next_line_number": 4, "size_bytes": 25, "end": True},
        ]
    ]


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param({"max_matches": 1}, id="by matches"),
        pytest.param({"max_bytes": 10}, id="by bytes"),
        pytest.param({"limits": Limits(400, 1, 30)}, id="by the output limit"),
    ],
)
def test_a_scan_in_steps_finds_what_one_step_finds(
    documents: Path, run: Run, bounds: dict[str, Any]
) -> None:
    numbers = range(2000)
    (documents / "numbers").write_text("".join(f"line {number}\n" for number in numbers))

    stepwise = steps(run, "numbers", pattern="77", **bounds)

    found = [match for step in stepwise for match in step[:-1]]
    assert [(match["line_number"], match["line_content"]) for match in found] == [
        (number + 1, f"line {number}") for number in numbers if "77" in str(number)
    ]
    assert len(stepwise) > 1


def test_a_scan_of_a_file_that_ends_in_the_middle_of_a_line(documents: Path, run: Run) -> None:
    (documents / "cut").write_text("a\nb")

    assert steps(run, "cut", pattern="b", max_matches=1) == [
        [
            {"line_number": 2, "line_content": "b", "match_start": 0, "match_end": 1},
            {"next_offset": 3, "next_line_number": 2, "size_bytes": 3, "end": True},
        ]
    ]


def test_a_scan_of_an_empty_file_ends_at_once(documents: Path, run: Run) -> None:
    (documents / "empty").write_text("")

    assert steps(run, "empty", pattern="x") == [
        [{"next_offset": 0, "next_line_number": 1, "size_bytes": 0, "end": True}]
    ]


@pytest.mark.parametrize(
    ("path", "options", "reason"),
    [
        pytest.param("image", {}, "image is a binary file", id="binary"),
        pytest.param("teams", {}, "teams is a folder; use ls", id="a folder"),
        pytest.param(
            "readme.md", {"offset": -1}, "a step begins in the file, and reads and answers something",
            id="before the file",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_scanned(
    documents: Path, run: Run, path: str, options: dict[str, Any], reason: str
) -> None:
    (documents / "image").write_bytes(b"\x89PNG\0\0")

    assert run("scan", path, pattern="x", **options).error == reason
