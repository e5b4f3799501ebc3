"""A tree has another state after every change in it, watched by the kernel or walked."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from target_app.cache import tree
from target_app.cache.folders import DEEPEST
from target_app.cache.inotify import Event, Inotify
from target_app.cache.state import Change, State
from target_app.cache.tree import HEARD_AT_ONCE_BYTES, TreeStates
from target_app.sandbox.paths import DataRoot

NOBODY = 65534


class Watch(Protocol):
    def __call__(
        self,
        root: Path,
        *,
        inotify: bool = True,
        max_age_seconds: float = 0.0,
        max_entries: int = 1000,
    ) -> TreeStates: ...


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Make states of a folder, closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def made(root: Path, **options: float) -> TreeStates:
            options = {"max_age_seconds": 0.0, "max_entries": 1000, **options}
            states = TreeStates(DataRoot(root), **options)  # type: ignore[arg-type]
            stack.callback(states.close)
            return states

        yield made  # type: ignore[misc]


def state(states: TreeStates, path: str = ".", *, deep: bool = True) -> State:
    found = states.take(path, deep=deep)
    assert found is not None
    return found


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def edit_in_disguise(path: Path) -> None:
    """Change a file to as many other bytes, in place, and put its modification time back."""
    before = path.stat()
    path.write_text(path.read_text().replace("Blue", "Grey"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def write_into_mapping(file: Path) -> None:
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
        mapped[0:1] = b"A"


def replace_by_link(folder: Path) -> None:
    folder.rename(folder.parent.parent / "moved out")
    folder.symlink_to(folder.parent.parent / "moved out")


CHANGES = [
    pytest.param(
        lambda root: (root / "teams/blue.txt").write_text("other"), Change.FILE, id="edit"
    ),
    pytest.param(
        lambda root: edit_in_disguise(root / "teams/blue.txt"),
        Change.FILE,
        id="edit of the same size with the time restored",
    ),
    pytest.param(
        lambda root: (root / "teams/blue.txt").chmod(0o600), Change.FILE, id="change of mode"
    ),
    pytest.param(
        lambda root: write_into_mapping(root / "teams/blue.txt"),
        Change.FILE,
        id="write into a shared mapping, which is closed",
    ),
    pytest.param(lambda root: (root / "teams/new.txt").touch(), Change.DIRECTORY, id="create"),
    pytest.param(lambda root: (root / "teams/red.txt").unlink(), Change.DIRECTORY, id="delete"),
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
        lambda root: (root / "teams").chmod(0o700), Change.DIRECTORY, id="close a folder"
    ),
    pytest.param(lambda root: root.chmod(0o700), Change.DIRECTORY, id="close the root"),
    pytest.param(
        lambda root: (root / "a/b/c").mkdir(parents=True), Change.DIRECTORY, id="new folders"
    ),
    pytest.param(
        lambda root: replace_by_link(root / "teams"), Change.DIRECTORY, id="folder now a link"
    ),
    pytest.param(
        lambda root: os.mkfifo(root / "teams/pipe"), Change.DIRECTORY, id="create a pipe"
    ),
    pytest.param(
        lambda root: ((root / "t").touch(), (root / "t").unlink()),
        Change.DIRECTORY,
        id="create and delete again",
    ),
    pytest.param(
        lambda root: (root / "teams/red.txt").replace(root / "teams/blue.txt"),
        Change.DIRECTORY,
        id="replace one file by another",
    ),
    pytest.param(
        lambda root: (root / "teams/blue.txt").read_text(), None, id="reading is no change"
    ),
    pytest.param(
        lambda root: (root.parent / "secret.txt").write_text("other"), None, id="change outside"
    ),
]


@pytest.mark.parametrize("way", ["watched", "walked"])
@pytest.mark.parametrize(("change", "seen"), CHANGES)
def test_a_change_in_a_tree_is_seen(
    documents: Path,
    watch: Watch,
    change: Callable[[Path], object],
    seen: Change | None,
    way: str,
) -> None:
    states = watch(documents, inotify=way == "watched")
    before = state(states)

    change(documents)

    assert before.change_to(state(states)) is seen


@pytest.mark.parametrize(("change", "seen"), CHANGES)
def test_both_ways_find_the_same_state(
    documents: Path, watch: Watch, change: Callable[[Path], object], seen: Change | None
) -> None:
    watched, walked = watch(documents), watch(documents, inotify=False)
    state(watched)

    change(documents)

    assert state(watched) == state(walked)
    assert state(watched, deep=False) == state(walked, deep=False)


@pytest.mark.parametrize(("change", "seen"), CHANGES)
def test_a_peek_knows_what_it_does_not_know(
    documents: Path, watch: Watch, change: Callable[[Path], object], seen: Change | None
) -> None:
    states = watch(documents)
    before = state(states)

    change(documents)
    peeked = states.peek(".", deep=True)

    assert peeked == (before if seen is None else None)


@pytest.mark.parametrize(
    ("change", "is_seen"),
    [
        pytest.param(lambda root: (root / "readme.md").write_text(""), True, id="edit of a file"),
        pytest.param(lambda root: (root / "new").touch(), True, id="new file"),
        pytest.param(lambda root: (root / "teams/new").touch(), True, id="new file beneath"),
        pytest.param(lambda root: (root / "teams").chmod(0o700), True, id="folder closed"),
        pytest.param(
            lambda root: (root / "teams/blue.txt").write_text(""), False, id="edit beneath"
        ),
        pytest.param(lambda root: (root / "teams/old/x").touch(), False, id="new far beneath"),
    ],
)
@pytest.mark.parametrize("way", ["watched", "walked"])
def test_a_listing_depends_on_entries_and_the_times_of_folders(
    documents: Path, watch: Watch, change: Callable[[Path], object], is_seen: object, way: str
) -> None:
    (documents / "teams/old").mkdir()
    states = watch(documents, inotify=way == "watched")
    before = state(states, deep=False)

    change(documents)

    assert (state(states, deep=False) != before) == is_seen


def test_a_scope_is_known_until_something_happens_in_it(documents: Path, watch: Watch) -> None:
    (documents / "plans").mkdir()
    states = watch(documents)
    unasked = states.peek("teams", deep=True)
    teams, plans = state(states, "teams"), state(states, "plans")

    (documents / "plans/new.md").touch()

    assert (unasked, states.peek("teams", deep=True), states.peek("plans", deep=True)) == (
        None,
        teams,
        None,
    )
    assert state(states, "plans") != plans


def test_the_newest_change_of_a_tree_is_the_newest_of_all_in_it(
    documents: Path, watch: Watch
) -> None:
    states = watch(documents)
    (documents / "teams/blue.txt").write_text("changed last")

    newest = (documents / "teams/blue.txt").stat().st_ctime_ns

    assert state(states).newest_change_ns == newest


def test_a_folder_moved_within_the_tree_is_watched_where_it_is(
    documents: Path, watch: Watch
) -> None:
    states = watch(documents)
    (documents / "teams/old").mkdir()
    (documents / "teams/old/plan.md").write_text("first")
    state(states)
    (documents / "teams").rename(documents / "groups")
    moved = state(states)

    (documents / "groups/old/plan.md").write_text("second")

    assert moved.change_to(state(states)) is Change.FILE
    assert states.take("teams", deep=True) is None


def test_a_folder_moved_out_is_watched_no_more(documents: Path, watch: Watch) -> None:
    states = watch(documents)
    state(states)
    (documents / "teams").rename(documents.parent / "outside")
    gone = state(states)

    (documents.parent / "outside/blue.txt").write_text("other")

    assert states.peek(".", deep=True) == gone


def test_a_folder_moved_out_and_in_again_is_looked_at_again(documents: Path, watch: Watch) -> None:
    states = watch(documents)
    before = state(states)
    (documents / "teams").rename(documents.parent / "outside")
    (documents.parent / "outside/blue.txt").write_text("other")
    (documents.parent / "outside").rename(documents / "teams")

    assert before.change_to(state(states)) is Change.DIRECTORY


def test_two_folders_that_change_places_are_told_apart(documents: Path, watch: Watch) -> None:
    (documents / "teams/a").mkdir()
    (documents / "teams/b").mkdir()
    (documents / "teams/a/plan.md").write_text("plan")
    states = watch(documents)
    state(states)
    a, b = state(states, "teams/a"), state(states, "teams/b")

    (documents / "teams/a").rename(documents / "c")
    (documents / "teams/b").rename(documents / "teams/a")
    (documents / "c").rename(documents / "teams/b")

    names = [state(states, "teams/a").contents, state(states, "teams/b").contents]
    assert names == [b.contents, a.contents]


@pytest.mark.parametrize("path", ["readme.md", "no folder", "teams/blue.txt/x", "link", "a\0b"])
@pytest.mark.parametrize("way", ["watched", "walked"])
def test_what_is_no_folder_has_no_state_here(
    documents: Path, watch: Watch, path: str, way: str
) -> None:
    (documents / "link").symlink_to("teams")
    states = watch(documents, inotify=way == "watched")

    assert states.peek(path, deep=True) is None
    assert states.take(path, deep=True) is None


def test_a_link_is_an_entry_and_not_followed(documents: Path, watch: Watch) -> None:
    outside = documents.parent / "outside"
    outside.mkdir()
    (documents / "link").symlink_to(outside)
    states = watch(documents)
    before = state(states)

    (outside / "new").touch()
    unmoved = states.peek(".", deep=True)
    (documents / "link").unlink()
    (documents / "link").symlink_to("teams")

    assert unmoved == before
    assert before.change_to(state(states)) is Change.DIRECTORY


def test_a_write_by_another_name_is_seen(documents: Path, watch: Watch) -> None:
    outside = documents.parent / "other name"
    outside.hardlink_to(documents / "teams/blue.txt")
    states = watch(documents)
    before, beside = state(states), state(states, "teams", deep=False)

    outside.write_text("other")

    assert states.peek(".", deep=True) is None
    assert before.change_to(state(states)) is Change.FILE
    assert beside.change_to(state(states, "teams", deep=False)) is Change.FILE


@pytest.mark.parametrize("way", ["watched", "walked"])
def test_a_tree_with_too_many_entries_is_not_kept_track_of(
    documents: Path, watch: Watch, way: str
) -> None:
    for number in range(20):
        (documents / f"teams/{number}").touch()
    states = watch(documents, inotify=way == "watched", max_entries=10)

    assert states.take(".", deep=True) is None
    assert states.take("teams", deep=True) is None
    assert states.take(".", deep=False) is not None


def test_a_tree_that_was_too_large_is_not_listed_again_at_every_look(
    documents: Path, watch: Watch
) -> None:
    states = watch(documents, max_entries=3)
    refused = states.take(".", deep=True)
    (documents / "teams/blue.txt").unlink()

    assert (refused, states.take(".", deep=True)) == (None, None)


def test_a_scope_has_room_for_itself_whatever_was_asked_before(
    documents: Path, watch: Watch
) -> None:
    for folder in "ab":
        (documents / folder).mkdir()
        for number in range(8):
            (documents / folder / str(number)).touch()
    states = watch(documents, max_entries=10)

    found = [states.take(path, deep=True) for path in "abab"]

    assert None not in found
    assert found[:2] == found[2:]


def test_a_tree_that_is_too_deep_is_not_kept_track_of(tmp_path: Path, watch: Watch) -> None:
    (tmp_path / "/".join("d" * (DEEPEST + 1))).mkdir(parents=True)
    states = watch(tmp_path)

    assert states.take(".", deep=True) is None
    assert states.take("d", deep=False) is not None


@pytest.mark.parametrize("way", ["watched", "walked"])
def test_a_folder_that_cannot_be_read_makes_its_scope_unknown(watch: Watch, way: str) -> None:
    with tempfile.TemporaryDirectory() as made, somebody_unprivileged(Path(made)):
        root = Path(made) / "root"
        (root / "open").mkdir(parents=True)
        (root / "closed").mkdir(mode=0o000)
        states = watch(root, inotify=way == "watched")

        assert states.take(".", deep=True) is None
        assert states.take("closed", deep=False) is None
        assert states.take("open", deep=True) is not None
        (root / "closed").chmod(0o700)


@contextlib.contextmanager
def somebody_unprivileged(home: Path) -> Iterator[None]:
    """Be a user whom the system refuses things, which it does not refuse root."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(home, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("way", ["watched", "walked"])
def test_a_root_that_is_gone_has_no_state_until_it_is_back(
    documents: Path, watch: Watch, way: str
) -> None:
    states = watch(documents, inotify=way == "watched")
    before = state(states)

    documents.rename(documents.parent / "away")
    gone = (states.peek(".", deep=True), states.take(".", deep=True))
    (documents.parent / "away").rename(documents)

    assert gone == (None, None)
    assert state(states).contents == before.contents


@pytest.mark.parametrize("way", ["watched", "walked"])
def test_another_root_in_its_place_has_another_state(
    documents: Path, watch: Watch, way: str
) -> None:
    states = watch(documents, inotify=way == "watched")
    before = state(states)

    documents.rename(documents.parent / "away")
    documents.mkdir()
    (documents / "only.md").touch()
    other = state(states)
    (documents / "only.md").write_text("changed")

    assert before.change_to(other) is Change.DIRECTORY
    assert other.change_to(state(states)) is Change.FILE


def test_when_reports_are_lost_everything_is_looked_at_again(
    documents: Path, watch: Watch
) -> None:
    states = watch(documents)
    before = state(states)
    queued = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    files = [documents / "readme.md", documents / "teams/red.txt"]
    for number in range(queued + 10):
        # By turns: the same thing reported twice running is reported once.
        files[number % 2].chmod(0o640)
    (documents / "teams/blue.txt").write_text("other")

    assert states.peek(".", deep=True) is None
    assert before.change_to(state(states)) is Change.FILE
    assert states.exact


def test_a_peek_leaves_it_to_a_thread_to_hear_much(documents: Path, watch: Watch) -> None:
    (documents / "plans").mkdir()
    states = watch(documents)
    state(states)
    plans = state(states, "plans")
    write_busily(documents / "teams", HEARD_AT_ONCE_BYTES)

    assert [states.peek("plans", deep=True) for _ in range(2)] == [None, None]
    assert state(states, "plans") == states.peek("plans", deep=True) == plans


def write_busily(folder: Path, size_bytes: int) -> None:
    """Make changes whose reports take at least so many bytes."""
    for number in range(size_bytes // 32 + 1):
        # By turns: the same thing reported twice running is reported once.
        (folder / ("red.txt", "blue.txt")[number % 2]).chmod(0o640)


def test_a_look_does_not_wait_for_a_writer_to_stop(
    documents: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = watch(documents)
    before = state(states)
    read = Inotify.read
    reads = 0

    def read_and_write(self: Inotify, size_bytes: int) -> list[Event]:
        nonlocal reads
        reads += 1
        events = read(self, size_bytes)
        (documents / "teams/blue.txt").write_text(f"write number {reads}")
        return events

    monkeypatch.setattr(Inotify, "read", read_and_write)
    (documents / "readme.md").write_text("other")

    assert before.change_to(state(states)) is Change.FILE
    assert reads == 1


def test_more_reports_than_are_worth_hearing_count_as_lost(
    documents: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = watch(documents)
    before = state(states)
    monkeypatch.setattr(tree, "QUEUED_BYTES", HEARD_AT_ONCE_BYTES)
    monkeypatch.setattr(Inotify, "read", lambda *_: pytest.fail("all of it is heard"))
    write_busily(documents / "teams", HEARD_AT_ONCE_BYTES)
    (documents / "readme.md").write_text("other")

    now = state(states)

    assert before.change_to(now) is Change.FILE
    assert (states.exact, states.peek(".", deep=True)) == (True, now)


@contextlib.contextmanager
def mounted(place: Path, *arguments: str | Path) -> Iterator[None]:
    command = ["mount", *arguments, place]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_mount_beneath_the_root_ends_the_trust(documents: Path, watch: Watch) -> None:
    (documents / "mounted").mkdir()
    states = watch(documents)
    before = state(states)

    with mounted(documents / "mounted", "-t", "tmpfs", "tmpfs"):
        assert states.peek(".", deep=True) is None
        assert before.change_to(state(states)) is Change.DIRECTORY
        assert not states.exact


def test_a_folder_in_two_places_ends_the_trust(documents: Path, watch: Watch) -> None:
    (documents / "again").mkdir()
    with mounted(documents / "again", "--bind", documents / "teams"):
        states = watch(documents)
        before = state(states)
        (documents / "again/blue.txt").write_text("other")

        assert before.change_to(state(states)) is Change.FILE
        assert not states.exact


def test_a_folder_that_is_moved_during_the_look_is_found_where_it_is(
    documents: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    (documents / "a/moving").mkdir(parents=True)
    (documents / "b").mkdir()
    states = watch(documents)
    state(states)
    for folder in "ab":
        (documents / folder / "new").touch()
    watch_folder = Inotify.watch
    watched = []

    def watch_and_move(self: Inotify, fd: int) -> int:
        watched.append(fd)
        if len(watched) == 2:
            (documents / "a/moving").rename(documents / "b/moving")
        return watch_folder(self, fd)

    monkeypatch.setattr(Inotify, "watch", watch_and_move)

    assert state(states) == state(watch(documents, inotify=False))
    assert states.exact


@pytest.mark.parametrize(
    "method", ["watch", "__init__"], ids=["no more watches", "no more queues"]
)
def test_where_the_kernel_watches_no_more_folders_are_walked(
    documents: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Inotify, method, refuse)
    states = watch(documents, max_age_seconds=0)
    before = state(states)
    (documents / "teams/blue.txt").write_text("other")

    assert before.change_to(state(states)) is Change.FILE
    assert (states.exact, states.max_staleness_seconds) == (False, 0)


def test_on_other_file_systems_folders_are_walked(
    documents: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("target_app.cache.trust.REPORTING", {})

    assert not watch(documents).exact


def test_a_walk_is_good_for_as_long_as_it_is_said_to_be(documents: Path, watch: Watch) -> None:
    states = watch(documents, inotify=False, max_age_seconds=3600)
    unasked = states.peek(".", deep=True)
    before = state(states)

    (documents / "teams/blue.txt").write_text("other")

    assert unasked is None
    assert states.peek(".", deep=True) == before == state(states)
    assert (states.exact, states.max_staleness_seconds) == (False, 3600)


def test_what_is_watched_is_never_older_than_the_question(documents: Path, watch: Watch) -> None:
    states = watch(documents, max_age_seconds=3600)

    assert (states.exact, states.max_staleness_seconds) == (True, 0)


def test_a_peek_does_not_wait_for_a_long_look(documents: Path, watch: Watch) -> None:
    states = watch(documents)
    known = state(states)

    with states._lock:
        while_looking = states.peek(".", deep=True)

    assert (while_looking, states.peek(".", deep=True)) == (None, known)


@pytest.mark.parametrize("way", ["watched", "walked"])
def test_once_closed_there_are_no_states_and_nothing_is_open(
    documents: Path, watch: Watch, way: str
) -> None:
    states = watch(documents, inotify=way == "watched", max_age_seconds=3600)
    state(states)
    with_it = open_files()

    states.close()

    assert (states.peek(".", deep=True), states.take(".", deep=True)) == (None, None)
    assert open_files() == with_it - (2 if way == "watched" else 0)


def test_looking_leaves_no_file_open(documents: Path, watch: Watch) -> None:
    states = watch(documents)
    state(states)
    before = open_files()

    for number in range(20):
        (documents / f"teams/{number}").mkdir()
        state(states)
        states.take("no folder", deep=True)

    assert open_files() == before


@pytest.mark.parametrize(
    "deep", [pytest.param(True, id="tree"), pytest.param(False, id="listing")]
)
def test_a_folder_of_many_names_has_the_same_state_in_however_many_steps(
    documents: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch, deep: object
) -> None:
    for number in range(50):
        (documents / f"file {number}").touch()
        (documents / f"folder {number}").mkdir()
    at_once = state(watch(documents), deep=bool(deep))

    monkeypatch.setattr("target_app.cache.folders._SORTED_AT_ONCE", 7)

    assert state(watch(documents), deep=bool(deep)) == at_once
