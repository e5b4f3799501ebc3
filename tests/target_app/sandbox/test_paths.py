"""A path is beneath the data root, or it is not opened: the same answers in both ways."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest

from target_app.sandbox import paths
from target_app.sandbox.paths import (
    DataRoot,
    PathBlockedError,
    PathRefusedError,
    RootGoneError,
    walk,
)
from tests.target_app.sandbox.conftest import MakeRoot


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
        pytest.param("way-up/", "way-up leads outside the data root", id="link with a slash"),
        pytest.param(
            "teams/system/passwd",
            "teams/system leads outside the data root",
            id="absolute link in the middle",
        ),
        pytest.param(
            "magic/root", "magic leads outside the data root", id="link into the processes"
        ),
        pytest.param("chain", "chain leads outside the data root", id="link to a link outside"),
    ],
)
def test_a_path_that_leads_out_is_blocked(
    documents: Path, make_root: MakeRoot, path: str, reason: str
) -> None:
    (documents / "way-out").symlink_to("../secret.txt")
    (documents / "way-up").symlink_to(documents.parent)
    (documents / "teams" / "system").symlink_to("/etc")
    (documents / "magic").symlink_to("/proc/self")
    (documents / "chain").symlink_to("way-out")

    with pytest.raises(PathBlockedError) as blocked:
        make_root(documents).open(path)

    assert str(blocked.value) == reason


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        pytest.param(
            "latest.md", "latest.md is a symbolic link; links are not followed", id="a link"
        ),
        pytest.param(
            "all/blue.txt", "all is a symbolic link; links are not followed", id="a linked folder"
        ),
        pytest.param("pipe", "pipe is neither a file nor a folder", id="a pipe"),
        pytest.param("socket", "socket is neither a file nor a folder", id="a socket"),
        pytest.param(
            "caf\udce9", "a path must be text that UTF-8 can write", id="bytes that are no text"
        ),
        pytest.param(
            "\ud83d", "a path must be text that UTF-8 can write", id="half of a character"
        ),
        pytest.param("x/" * 3000, "a path has at most 4095 bytes", id="too long a path"),
    ],
)
def test_what_is_no_file_is_refused_but_is_no_attack(
    documents: Path, make_root: MakeRoot, path: str, reason: str
) -> None:
    (documents / "latest.md").symlink_to("readme.md")
    (documents / "all").symlink_to("teams")
    os.mkfifo(documents / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(documents / "socket"))

    with pytest.raises(PathRefusedError) as refused:
        make_root(documents).open(path)

    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("path", "shown", "is_directory"),
    [
        pytest.param(".", ".", True, id="the root"),
        pytest.param("", ".", True, id="nothing is the root"),
        pytest.param("./teams//blue.txt", "teams/blue.txt", False, id="spelt oddly"),
        pytest.param("teams/", "teams", True, id="a folder with a slash"),
        pytest.param("..notes", "..notes", False, id="a name beginning with dots"),
        pytest.param("Größe\n", "Größe\n", False, id="letters and a line break"),
        pytest.param("shut/inner", "shut/inner", False, id="in a folder that cannot be listed"),
    ],
)
def test_a_path_inside_is_opened(
    documents: Path, make_root: MakeRoot, path: str, shown: str, *, is_directory: bool
) -> None:
    (documents / "..notes").write_text("fine")
    (documents / "Größe\n").write_text("fine")
    (documents / "shut").mkdir()
    (documents / "shut" / "inner").write_text("fine")
    (documents / "shut").chmod(0o311)

    with make_root(documents).open(path) as opened:
        assert (opened.path, opened.is_directory) == (shown, is_directory)
        assert opened.fd is not None
        assert is_directory or os.read(opened.fd, 4) in {b"fine", b"Blue"}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("missing.md", id="no such file"),
        pytest.param("missing/inner", id="no such folder"),
        pytest.param("readme.md/inner", id="a file is no folder"),
        pytest.param("x" * 300, id="a name no file system takes"),
    ],
)
def test_where_nothing_is_there_is_no_descriptor(
    documents: Path, make_root: MakeRoot, path: str
) -> None:
    with make_root(documents).open(path) as opened:
        assert (opened.path, opened.fd, opened.status) == (path, None, None)


def test_a_walk_is_sorted_and_does_not_follow_links(documents: Path) -> None:
    (documents / "way-up").symlink_to(documents.parent)

    with DataRoot(documents).open(".") as opened:
        met = [found.path for found in walk(opened.fd or -1, ".")]

    assert met == ["readme.md", "teams", "teams/blue.txt", "teams/red.txt", "way-up"]


def test_a_walk_holds_a_bounded_number_of_entries(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "MAX_ENTRIES", 3)
    left_out: list[str] = []

    with DataRoot(documents).open(".") as opened:
        met = [found.path for found in walk(opened.fd or -1, ".", left_out=left_out.append)]

    # The root has two entries, so of its folder only one more is held.
    assert met[:2] == ["readme.md", "teams"]
    assert len(met) == 3
    assert left_out == ["folders from their entry number 2 on"]


def test_a_walk_ends_at_a_depth(documents: Path) -> None:
    deep = documents / "teams" / Path(*["d"] * 70)
    deep.mkdir(parents=True)
    left_out: list[str] = []

    with DataRoot(documents).open("teams") as opened:
        met = [found.path for found in walk(opened.fd or -1, "teams", left_out=left_out.append)]

    assert max(path.count("/") for path in met) == 64
    assert left_out == ["folders deeper than 64 levels"]


def test_a_root_that_went_and_came_back_is_noticed(documents: Path, make_root: MakeRoot) -> None:
    root = make_root(documents)
    before = root.identity()
    shutil.rmtree(documents)

    assert not root.is_there()
    with pytest.raises(RootGoneError, match="the folder of documents is gone"):
        root.open("readme.md")
    with pytest.raises(RootGoneError):
        root.identity()

    documents.mkdir()
    (documents / "new.md").write_text("new")

    assert root.is_there()
    assert root.identity() != before
    with root.open("new.md") as opened:
        assert os.read(opened.fd or -1, 10) == b"new"


def test_a_root_that_became_a_link_is_gone(documents: Path, make_root: MakeRoot) -> None:
    root = make_root(documents)
    shutil.rmtree(documents)
    documents.symlink_to("/etc")

    with pytest.raises(RootGoneError):
        root.open("passwd")


def test_a_folder_is_opened_to_write_into(documents: Path, make_root: MakeRoot) -> None:
    folder = make_root(documents).open_folder("teams")
    try:
        with os.scandir(folder) as listing:
            assert {entry.name for entry in listing} == {"blue.txt", "red.txt"}
    finally:
        os.close(folder)


def test_missing_folders_are_made_on_the_way(documents: Path, make_root: MakeRoot) -> None:
    os.close(make_root(documents).open_folder("teams/green/plans", make=True))

    assert (documents / "teams" / "green" / "plans").is_dir()


@pytest.mark.parametrize(
    ("path", "make", "error"),
    [
        pytest.param("missing", False, FileNotFoundError, id="missing"),
        pytest.param("readme.md", False, NotADirectoryError, id="a file"),
        pytest.param("readme.md/inner", True, NotADirectoryError, id="a file on the way"),
        pytest.param("way-up/new", True, PathBlockedError, id="a link out on the way"),
        pytest.param("way-up", True, PathBlockedError, id="a link out"),
        pytest.param("all/new", True, PathRefusedError, id="an inner link on the way"),
        pytest.param("../new", True, PathBlockedError, id="up"),
        pytest.param("pipe/new", True, NotADirectoryError, id="a pipe on the way"),
    ],
)
def test_a_folder_outside_is_neither_opened_nor_made(
    documents: Path, make_root: MakeRoot, path: str, error: type[Exception], *, make: bool
) -> None:
    (documents / "way-up").symlink_to(documents.parent)
    (documents / "all").symlink_to("teams")
    os.mkfifo(documents / "pipe")

    with pytest.raises(error):
        make_root(documents).open_folder(path, make=make)

    assert not (documents.parent / "new").exists()
    assert not (documents / "teams" / "new").exists()


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_swapped_in_during_the_call_is_never_followed(
    documents: Path, make_root: MakeRoot, swapped: str
) -> None:
    outside = documents.parent / "outside"
    outside.mkdir()
    (outside / "blue.txt").write_text("the secret")
    (documents / "link").symlink_to(outside / "blue.txt" if swapped == "file" else outside)
    place = documents / "teams" / "blue.txt" if swapped == "file" else documents / "teams"
    stop = threading.Event()

    def swap() -> None:
        aside, link = documents / "aside", documents / "link"
        while not stop.is_set():
            place.rename(aside)
            link.rename(place)
            place.rename(link)
            aside.rename(place)

    swapping = threading.Thread(target=swap)
    root = make_root(documents)
    seen: Counter[str] = Counter()
    swapping.start()
    try:
        # As often as it takes to have met both states, however the threads take turns.
        while seen.total() < 1000 or (len(seen) == 1 and seen.total() < 100_000):
            try:
                with root.open("teams/blue.txt") as opened:
                    seen["nothing" if opened.fd is None else os.read(opened.fd, 4).decode()] += 1
            except PathBlockedError:
                seen["blocked"] += 1
            except PathRefusedError:
                seen["refused"] += 1
    finally:
        stop.set()
        swapping.join()

    assert len(seen) > 1
    assert set(seen) <= {"Blue", "nothing", "blocked", "refused"}


def open_descriptors() -> set[str]:
    return {str(entry) for entry in Path("/dev/fd").iterdir()}


def test_no_descriptor_is_left_open(documents: Path, make_root: MakeRoot) -> None:
    (documents / "way-up").symlink_to(documents.parent)
    (documents / "all").symlink_to("teams")
    os.mkfifo(documents / "pipe")
    root = make_root(documents)
    before = open_descriptors()

    for path in (".", "teams/blue.txt", "missing/deep", "readme.md/x"):
        with root.open(path) as opened:
            if opened.is_directory:
                next(walk(opened.fd or -1, "."))
                list(walk(opened.fd or -1, "."))
    for path in ("../x", "way-up/x", "teams/../..", "pipe", "all/blue.txt"):
        with pytest.raises((PathBlockedError, PathRefusedError)):
            root.open(path)
        with pytest.raises((PathBlockedError, PathRefusedError, OSError)):
            root.open_folder(path, make=True)

    assert open_descriptors() == before


def test_the_walk_is_taken_where_the_kernel_lacks_the_call(
    documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(paths.openat2, "open_beneath_folder", lacking)

    with DataRoot(documents, use_openat2=True).open("teams/blue.txt") as opened:
        assert os.read(opened.fd or -1, 4) == b"Blue"
