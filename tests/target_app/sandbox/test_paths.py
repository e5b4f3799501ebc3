"""A path is beneath the data root, or it is not opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from target_app.sandbox.paths import DataRoot, PathBlockedError, PathRefusedError, walk


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param("../secret.txt", "'..' is not allowed in a path", id="one level up"),
        pytest.param("teams/../../secret.txt", "'..' is not allowed in a path", id="down and up"),
        pytest.param("teams/..", "'..' is not allowed in a path", id="up, even if still inside"),
        pytest.param(
            "/etc/passwd",
            "absolute paths are not allowed; paths are relative to the data root",
            id="absolute",
        ),
        pytest.param(
            "readme.md\0.txt", "a path cannot contain a NUL character", id="NUL in the middle"
        ),
        pytest.param(
            "way-out", "way-out leads outside the data root", id="link to a file outside"
        ),
        pytest.param(
            "way-up/secret.txt",
            "way-up leads outside the data root",
            id="link to a folder outside",
        ),
    ],
)
def test_a_path_that_leads_out_is_blocked(documents: Path, path: str, reason: str) -> None:
    (documents / "way-out").symlink_to("../secret.txt")
    (documents / "way-up").symlink_to(documents.parent)

    with pytest.raises(PathBlockedError) as blocked:
        DataRoot(documents).open(path)

    assert str(blocked.value) == reason


def test_a_link_that_stays_inside_is_refused_but_is_no_attack(documents: Path) -> None:
    (documents / "latest.md").symlink_to("readme.md")

    with pytest.raises(PathRefusedError) as refused:
        DataRoot(documents).open("latest.md")

    assert str(refused.value) == "latest.md is a symbolic link; links are not followed"


def test_a_pipe_is_refused_without_waiting_for_a_writer(documents: Path) -> None:
    os.mkfifo(documents / "pipe")

    with pytest.raises(PathRefusedError) as refused:
        DataRoot(documents).open("pipe")

    assert str(refused.value) == "pipe is neither a file nor a folder"


@pytest.mark.parametrize(
    ("path", "shown", "is_directory"),
    [
        pytest.param(".", ".", True, id="the root"),
        pytest.param("", ".", True, id="nothing is the root"),
        pytest.param("./teams//blue.txt", "teams/blue.txt", False, id="spelt oddly"),
        pytest.param("teams/", "teams", True, id="a folder with a slash"),
    ],
)
def test_a_path_inside_is_opened(
    documents: Path, path: str, shown: str, *, is_directory: bool
) -> None:
    with DataRoot(documents).open(path) as opened:
        assert (opened.path, opened.is_directory) == (shown, is_directory)
        assert opened.fd is not None


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("missing.md", id="no such file"),
        pytest.param("readme.md/inner", id="a file is no folder"),
        pytest.param("x" * 300, id="a name no file system takes"),
    ],
)
def test_where_nothing_is_there_is_no_descriptor(documents: Path, path: str) -> None:
    with DataRoot(documents).open(path) as opened:
        assert (opened.path, opened.fd, opened.status) == (path, None, None)


def test_a_name_beginning_with_dots_is_an_ordinary_name(documents: Path) -> None:
    (documents / "..notes").write_text("fine")

    with DataRoot(documents).open("..notes") as opened:
        assert os.read(opened.fd or -1, 10) == b"fine"


def test_a_walk_is_sorted_and_does_not_follow_links(documents: Path) -> None:
    (documents / "way-up").symlink_to(documents.parent)

    with DataRoot(documents).open(".") as opened:
        met = [found.path for found in walk(opened.fd or -1, ".")]

    assert met == ["readme.md", "teams", "teams/blue.txt", "teams/red.txt", "way-up"]


def open_descriptors() -> set[str]:
    return {str(entry) for entry in Path("/dev/fd").iterdir()}


def test_no_descriptor_is_left_open(documents: Path) -> None:
    root = DataRoot(documents)
    before = open_descriptors()

    for path in (".", "teams/blue.txt", "missing/deep", "readme.md/x"):
        with root.open(path) as opened:
            if opened.is_directory:
                list(walk(opened.fd or -1, "."))
    with pytest.raises(PathBlockedError):
        root.open("../x")

    assert open_descriptors() == before
