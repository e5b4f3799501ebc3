"""A state differs after every change that could make a remembered result untrue."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from target_app.cache.state import Change, State, digest, file_state
from target_app.sandbox.paths import DataRoot


def state_of(root: Path, path: str) -> State:
    with DataRoot(root).open(path) as opened:
        return file_state(opened)


def edit_in_disguise(path: Path) -> None:
    """Change a file to as many other bytes, in place, and put its modification time back."""
    before = path.stat()
    path.write_text(path.read_text().replace("Blue", "Grey"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        pytest.param(lambda file: file.write_text("other"), Change.FILE, id="edit"),
        pytest.param(edit_in_disguise, Change.FILE, id="edit in disguise"),
        pytest.param(lambda file: file.chmod(0o600), Change.FILE, id="change of mode"),
        pytest.param(Path.unlink, Change.DIRECTORY, id="delete"),
        pytest.param(
            lambda file: (file.unlink(), file.mkdir()), Change.DIRECTORY, id="now a folder"
        ),
        pytest.param(
            lambda file: (file.parent / "red.txt").replace(file), Change.FILE, id="another file"
        ),
        pytest.param(Path.read_text, None, id="reading is no change"),
    ],
)
def test_a_change_of_one_file_is_seen(
    documents: Path, change: Callable[[Path], object], seen: Change | None
) -> None:
    before = state_of(documents, "teams/blue.txt")

    change(documents / "teams/blue.txt")

    assert before.change_to(state_of(documents, "teams/blue.txt")) is seen


def test_that_nothing_is_there_is_a_state_too(documents: Path) -> None:
    before = state_of(documents, "later.md")
    again = state_of(documents, "later.md")
    (documents / "later.md").write_text("here")

    assert before.change_to(again) is None
    assert before.change_to(state_of(documents, "later.md")) is Change.DIRECTORY


def test_a_state_is_settled_twenty_milliseconds_after_the_newest_change() -> None:
    state = State(b"", b"", newest_change_ns=1_000_000_001)

    assert not state.is_settled(1_020_000_000)
    assert state.is_settled(1_020_000_001)


def test_where_times_are_kept_in_whole_seconds_a_state_settles_after_two() -> None:
    state = State(b"", b"", newest_change_ns=1_000_000_000)

    assert not state.is_settled(3_019_999_999)
    assert state.is_settled(3_020_000_000)


def test_a_change_of_the_future_is_not_settled() -> None:
    assert not State(b"", b"", newest_change_ns=5_000_000_001).is_settled(4_000_000_000)


def test_the_absence_of_a_file_is_settled_at_once(documents: Path) -> None:
    absent = state_of(documents, "later.md")

    assert absent.is_settled(3_000_000_000)


def test_a_digest_tells_where_one_part_ends() -> None:
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest(["name that is no text: \udcff"]) == digest(["name that is no text: \udcff"])
