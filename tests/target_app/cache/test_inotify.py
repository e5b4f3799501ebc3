"""Changes are reported by the time the call that made them returns."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from target_app.cache import inotify
from target_app.cache.inotify import Event, Inotify


@pytest.fixture
def queue(documents: Path) -> Iterator[tuple[Inotify, int]]:
    with contextlib.closing(Inotify()) as opened:
        fd = os.open(documents, os.O_RDONLY | os.O_DIRECTORY)
        watch = opened.watch(fd)
        os.close(fd)
        yield opened, watch


def read_all(opened: Inotify) -> list[Event]:
    return opened.read(opened.queued_bytes())


def write_into_mapping(file: Path) -> None:
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        mapped[0:1] = b"A"


@pytest.mark.parametrize(
    ("change", "mask", "name"),
    [
        pytest.param(
            lambda root: (root / "new.md").touch(), inotify.CREATED, "new.md", id="create"
        ),
        pytest.param(
            lambda root: (root / "readme.md").write_text("other"),
            inotify.MODIFY,
            "readme.md",
            id="write",
        ),
        pytest.param(
            lambda root: (root / "readme.md").unlink(), inotify.DELETED, "readme.md", id="delete"
        ),
        pytest.param(
            lambda root: (root / "readme.md").rename(root / "b"), inotify.MOVED_TO, "b", id="move"
        ),
        pytest.param(
            lambda root: (root / "readme.md").chmod(0o600),
            inotify.ATTRIBUTES,
            "readme.md",
            id="change of mode",
        ),
        pytest.param(
            lambda root: write_into_mapping(root / "readme.md"),
            inotify.CLOSED_AFTER_WRITING,
            "readme.md",
            id="write into a shared mapping",
        ),
        pytest.param(
            lambda root: root.chmod(0o700), inotify.ATTRIBUTES, "", id="change of the folder"
        ),
        pytest.param(
            lambda root: (root / os.fsdecode(b"caf\xe9")).touch(),
            inotify.CREATED,
            "caf\udce9",
            id="a name that is no text",
        ),
    ],
)
def test_a_change_is_reported(
    documents: Path,
    queue: tuple[Inotify, int],
    change: Callable[[Path], object],
    mask: int,
    name: str,
) -> None:
    opened, watch = queue

    change(documents)

    assert any(
        event.watch == watch and event.mask & mask and event.name == name
        for event in read_all(opened)
    )
    assert read_all(opened) == []


def test_what_happens_in_a_folder_beneath_is_not_reported(
    documents: Path, queue: tuple[Inotify, int]
) -> None:
    (documents / "teams/blue.txt").write_text("other")

    assert read_all(queue[0]) == []


def test_a_folder_keeps_its_watch_under_another_name(
    documents: Path, queue: tuple[Inotify, int]
) -> None:
    moved = documents.rename(documents.parent / "moved")
    fd = os.open(moved, os.O_RDONLY)

    assert queue[0].watch(fd) == queue[1]
    os.close(fd)


def test_a_watch_that_is_taken_away_says_so(documents: Path, queue: tuple[Inotify, int]) -> None:
    opened, watch = queue
    opened.forget(watch)
    (documents / "new.md").touch()

    assert read_all(opened) == [Event(watch, inotify.FORGOTTEN, "")]
    opened.forget(watch)


def test_only_folders_are_watched(documents: Path, queue: tuple[Inotify, int]) -> None:
    fd = os.open(documents / "readme.md", os.O_RDONLY)

    with pytest.raises(NotADirectoryError):
        queue[0].watch(fd)
    os.close(fd)
