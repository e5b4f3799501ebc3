"""ls, find and tree: what they write, and what they leave out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from target_app.sandbox import paths
from tests.target_app.sandbox.conftest import Run


@pytest.mark.parametrize(
    ("name", "path", "options", "written"),
    [
        pytest.param("ls", ".", {}, "readme.md\nteams/", id="ls a folder"),
        pytest.param("ls", "readme.md", {}, "readme.md", id="ls a file"),
        pytest.param("ls", ".", {"hidden": True}, ".draft/\nreadme.md\nteams/", id="ls dot files"),
        pytest.param("ls", ".draft", {}, "", id="ls an empty folder"),
        pytest.param(
            "find", ".", {"name_pattern": "*.txt"}, "teams/blue.txt\nteams/red.txt", id="find"
        ),
        pytest.param("find", "teams", {}, "teams/blue.txt\nteams/red.txt", id="find beneath"),
        pytest.param("find", ".", {"kind": "d"}, ".draft\nteams", id="find folders"),
        pytest.param(
            "find", ".", {"name_pattern": "blue", "kind": "f"}, "", id="find needs the whole name"
        ),
        pytest.param(
            "find", ".", {"name_pattern": "[br]*.txt", "kind": "f"},
            "teams/blue.txt\nteams/red.txt", id="find any of some letters",
        ),
        pytest.param("find", ".", {"name_pattern": "-delete"}, "", id="find takes no option"),
        pytest.param("find", "readme.md", {}, "readme.md", id="find on a file"),
        pytest.param("find", "readme.md", {"kind": "d"}, "", id="find no folder in a file"),
        pytest.param(
            "tree", ".", {},
            "./\n  .draft/\n  readme.md\n  teams/\n    blue.txt\n    red.txt", id="tree",
        ),
        pytest.param("tree", "teams", {}, "teams/\n  blue.txt\n  red.txt", id="tree of a folder"),
        pytest.param(
            "tree", ".", {"max_depth": 1}, "./\n  .draft/\n  readme.md\n  teams/", id="flat tree"
        ),
    ],
)  # fmt: skip
def test_what_is_written(
    documents: Path, run: Run, name: str, path: str, options: dict[str, Any], written: str
) -> None:
    (documents / ".draft").mkdir()

    execution = run(name, path, **options)

    assert (execution.status, execution.stdout, execution.error) == ("success", written, None)


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        pytest.param("ls", "missing", "missing: no such file or folder", id="ls nothing"),
        pytest.param("find", "missing", "missing: no such file or folder", id="find in nothing"),
        pytest.param(
            "tree", "readme.md", "readme.md is a file, not a folder", id="tree of a file"
        ),
    ],
)
def test_what_cannot_be_listed(run: Run, name: str, path: str, reason: str) -> None:
    assert run(name, path).error == reason


def test_a_search_of_names_that_finds_nothing_says_so(run: Run) -> None:
    nothing = run("find", ".", name_pattern="*.pdf")

    assert (nothing.status, nothing.stdout, nothing.return_code) == ("success", "", 1)
    assert run("find", ".", name_pattern="*.md").return_code == 0


def test_a_tree_counts_what_it_shows(run: Run) -> None:
    assert run("tree", ".").note == "1 folder, 3 files"


def test_ls_marks_links_and_shows_sizes(documents: Path, run: Run) -> None:
    (documents / "teams" / "way-out").symlink_to("/etc")
    os.utime(documents / "teams" / "blue.txt", (0, 0))

    listed = run("ls", "teams", details=True).stdout.split("\n")

    assert [line.split("  ")[-1] for line in listed] == ["blue.txt", "red.txt", "way-out@"]
    assert listed[0] == "          25  1970-01-01 00:00  blue.txt"


def test_a_name_cannot_forge_a_line(documents: Path, run: Run) -> None:
    (documents / "teams" / "x\nsecret.txt\x1b[31m").write_text("alpha")
    (documents / "teams" / "caf\udce9").write_text("alpha")

    assert run("find", "teams", name_pattern="[cx]*").stdout == (
        "teams/caf?\nteams/x?secret.txt?[31m"
    )
    assert run("ls", "teams").stdout == "blue.txt\ncaf?\nred.txt\nx?secret.txt?[31m"
    assert run("grep", "teams", pattern="alpha").stdout.split("\n")[1:] == [
        "teams/caf?:1:alpha",
        "teams/x?secret.txt?[31m:1:alpha",
    ]


@pytest.mark.parametrize("name", ["ls", "find", "tree"])
def test_of_a_folder_with_too_many_entries_some_are_shown(
    documents: Path, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for number in range(20):
        (documents / "teams" / f"{number:02}").write_text("")
    monkeypatch.setattr(paths, "MAX_ENTRIES", 10)

    execution = run(name, "teams")

    assert execution.status == "success"
    assert len(execution.stdout.split("\n")) == (11 if name == "tree" else 10)
    assert "passed over: 1 folders from their entry number 11 on" in execution.note


def test_a_pattern_with_many_stars_is_answered(documents: Path, run: Run) -> None:
    (documents / ("a" * 200)).write_text("")

    assert run("find", ".", name_pattern="*a" * 100 + "b").return_code == 1
