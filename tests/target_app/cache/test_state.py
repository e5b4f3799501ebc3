"""A state differs after every change that could make a remembered result untrue."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from target_app.cache.state import Change, State, file_state, tree_state
from target_app.sandbox.commands import CommandTimeoutError
from target_app.sandbox.paths import DataRoot


def state_of(root: Path, path: str, take: Callable[..., State] = tree_state) -> State:
    with DataRoot(root).open(path) as opened:
        return take(opened, lambda: None)


def edit_in_disguise(path: Path) -> None:
    """Change a file to as many other bytes, in place, and put its modification time back."""
    before = path.stat()
    path.write_text(path.read_text().replace("Blue", "Grey"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        pytest.param(
            lambda root: (root / "teams/blue.txt").write_text("other"), Change.FILE, id="edit"
        ),
        pytest.param(
            lambda root: edit_in_disguise(root / "teams/blue.txt"),
            Change.FILE,
            id="edit of the same size with the time restored",
        ),
        pytest.param(
            lambda root: (root / "teams/new.txt").write_text(""), Change.DIRECTORY, id="create"
        ),
        pytest.param(
            lambda root: (root / "teams/red.txt").unlink(), Change.DIRECTORY, id="delete"
        ),
        pytest.param(
            lambda root: (root / "teams/red.txt").rename(root / "teams/pink.txt"),
            Change.DIRECTORY,
            id="rename a file",
        ),
        pytest.param(
            lambda root: (root / "teams").rename(root / "groups"),
            Change.DIRECTORY,
            id="rename a folder",
        ),
        pytest.param(
            lambda root: ((root / "t").write_text(""), (root / "t").unlink()),
            Change.DIRECTORY,
            id="create and delete again",
        ),
        pytest.param(
            lambda root: (root / "teams/red.txt").replace(root / "teams/blue.txt"),
            Change.DIRECTORY,
            id="replace one file by another",
        ),
        pytest.param(
            lambda root: (root / "readme.md").read_text(), None, id="reading is no change"
        ),
    ],
)
def test_a_change_in_a_tree_is_seen(
    documents: Path, change: Callable[[Path], object], seen: Change | None
) -> None:
    before = state_of(documents, ".")

    change(documents)

    assert before.change_to(state_of(documents, ".")) is seen


def test_what_happens_outside_a_scope_is_none_of_its_business(documents: Path) -> None:
    before = state_of(documents, "teams")

    (documents / "readme.md").write_text("other")

    assert before == state_of(documents, "teams")


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        pytest.param(lambda file: file.write_text("other"), Change.FILE, id="edit"),
        pytest.param(edit_in_disguise, Change.FILE, id="edit in disguise"),
        pytest.param(Path.unlink, Change.DIRECTORY, id="delete"),
        pytest.param(
            lambda file: (file.unlink(), file.mkdir()), Change.DIRECTORY, id="now a folder"
        ),
        pytest.param(Path.read_text, None, id="reading is no change"),
    ],
)
def test_a_change_of_one_file_is_seen(
    documents: Path, change: Callable[[Path], object], seen: Change | None
) -> None:
    before = state_of(documents, "teams/blue.txt", file_state)

    change(documents / "teams/blue.txt")

    assert before.change_to(state_of(documents, "teams/blue.txt", file_state)) is seen


def test_that_nothing_is_there_is_a_state_too(documents: Path) -> None:
    before = state_of(documents, "later.md", file_state)
    again = state_of(documents, "later.md", file_state)
    (documents / "later.md").write_text("here")

    assert before.change_to(again) is None
    assert before.change_to(state_of(documents, "later.md", file_state)) is Change.DIRECTORY


def test_a_state_is_settled_twenty_milliseconds_after_the_newest_change() -> None:
    state = State(b"", b"", newest_change_ns=1_000_000_000)

    assert not state.is_settled(1_019_999_999)
    assert state.is_settled(1_020_000_000)


def test_the_newest_change_of_a_tree_is_the_newest_of_all_in_it(documents: Path) -> None:
    (documents / "teams/blue.txt").write_text("changed last")

    newest = (documents / "teams/blue.txt").stat().st_ctime_ns

    assert state_of(documents, ".").newest_change_ns == newest


def test_a_walk_can_be_stopped(documents: Path) -> None:
    def stop() -> None:
        raise CommandTimeoutError

    with DataRoot(documents).open(".") as opened, pytest.raises(CommandTimeoutError):
        tree_state(opened, stop)
