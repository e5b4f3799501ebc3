"""Documents in a folder: what is listed and read, how they are written, and what is refused."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from target_app.documents import (
    AccessDeniedError,
    BadNameError,
    DataRootGoneError,
    DocumentChangedError,
    DocumentError,
    DocumentExistsError,
    DocumentInfo,
    Documents,
    DocumentTooLargeError,
    FolderBusyError,
    NoSuchDocumentError,
    NotADocumentError,
    NotTextError,
    StorageFullError,
    drafts,
    place_in,
    store,
)
from target_app.sandbox.paths import DataRoot, PathBlockedError, PathRefusedError

LIMIT = 1000


@pytest.fixture
def kept(documents: Path) -> Documents:
    return Documents(DataRoot(documents), LIMIT)


def names(kept: Documents, path: str = ".", *, limit: int = 100, **options: bool) -> list[str]:
    chosen = {"recursive": False, "hidden": False, **options}
    return [item.path for item in kept.list(path, limit=limit, **chosen).items]


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# Listing


def test_a_listing_tells_what_is_known_of_each_entry(kept: Documents, documents: Path) -> None:
    os.utime(documents / "readme.md", (0, 1_700_000_000))
    os.utime(documents / "teams", (0, 1_700_000_001))

    listing = kept.list(".", recursive=False, hidden=False, limit=100)

    assert (listing.path, listing.truncated) == (".", False)
    assert listing.items == [
        DocumentInfo(
            name="readme.md",
            path="readme.md",
            is_directory=False,
            size=17,
            modified=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
            extension=".md",
        ),
        DocumentInfo(
            name="teams",
            path="teams",
            is_directory=True,
            size=0,
            modified=datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC),
            extension="",
        ),
    ]


def test_a_listing_goes_beneath_folders_when_asked(kept: Documents) -> None:
    assert names(kept) == ["readme.md", "teams"]
    assert names(kept, "teams") == ["teams/blue.txt", "teams/red.txt"]
    assert names(kept, recursive=True) == [
        "readme.md",
        "teams",
        "teams/blue.txt",
        "teams/red.txt",
    ]


def test_names_that_begin_with_a_dot_are_listed_only_when_asked(
    kept: Documents, documents: Path
) -> None:
    (documents / ".git").mkdir()
    (documents / ".git" / "config").write_text("x")

    assert names(kept, recursive=True) == ["readme.md", "teams", "teams/blue.txt", "teams/red.txt"]
    assert names(kept, recursive=True, hidden=True)[:2] == [".git", ".git/config"]
    # Whoever names the hidden folder means it.
    assert names(kept, ".git") == [".git/config"]


def test_links_pipes_and_unfinished_documents_are_not_listed(
    kept: Documents, documents: Path
) -> None:
    (documents / "link").symlink_to("readme.md")
    os.mkfifo(documents / "pipe")
    (documents / ".unfinished-0123").write_text("left behind by a crash")

    assert names(kept, hidden=True, recursive=True) == [
        "readme.md",
        "teams",
        "teams/blue.txt",
        "teams/red.txt",
    ]


@pytest.mark.parametrize(
    ("limit", "shown", "more"),
    [
        pytest.param(
            3, ["readme.md", "teams", "teams/blue.txt"], [True], id="fewer than there are"
        ),
        pytest.param(
            4,
            ["readme.md", "teams", "teams/blue.txt", "teams/red.txt"],
            [False],
            id="as many as there are",
        ),
    ],
)
def test_a_listing_is_cut_at_its_limit_and_says_so(
    kept: Documents, limit: int, shown: list[str], more: list[bool]
) -> None:
    listing = kept.list(".", recursive=True, hidden=False, limit=limit)

    assert [item.path for item in listing.items] == shown
    assert [listing.truncated] == more


def test_a_listing_stops_looking_after_a_while(
    kept: Documents, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_LOOKED_AT", 3)
    for number in range(5):
        (documents / f"a-link-{number}").symlink_to("readme.md")

    listing = kept.list(".", recursive=False, hidden=False, limit=100)

    assert (listing.items, listing.truncated) == ([], True)


def test_a_name_that_is_not_text_is_shown_as_well_as_it_can_be(
    kept: Documents, documents: Path
) -> None:
    (documents / os.fsdecode(b"a-\xff.md")).write_text("x")

    assert names(kept)[0] == "a-\ufffd.md"


def test_a_date_no_calendar_has_is_shown_as_the_last_one(kept: Documents, documents: Path) -> None:
    os.utime(documents / "readme.md", ns=(0, 2**63 - 1))
    when = kept.list(".", recursive=False, hidden=False, limit=1).items[0].modified
    assert when.year >= 2262


# Reading


def test_a_document_is_read_as_it_is(kept: Documents, documents: Path) -> None:
    (documents / "notes.md").write_bytes("é\r\n\u2028x".encode())

    text, saved = kept.read("notes.md")

    assert text == "é\r\n\u2028x"
    assert (saved.info.path, saved.info.size) == ("notes.md", 8)


@pytest.mark.parametrize(
    "data", [pytest.param(b"\xff\xfe", id="not UTF-8"), pytest.param(b"a\0b", id="with a NUL")]
)
def test_what_is_not_text_is_downloaded_instead(
    kept: Documents, documents: Path, data: bytes
) -> None:
    (documents / "data").write_bytes(data)

    with pytest.raises(NotTextError, match="data is not text; download it instead"):
        kept.read("data")
    with kept.open("data") as document:
        assert document.read(0, 100) == data
        assert document.read(1, 1) == data[1:2]


def test_a_document_above_the_limit_is_opened_only_bit_by_bit(
    kept: Documents, documents: Path
) -> None:
    (documents / "large").write_bytes(b"x" * (LIMIT + 1))

    with pytest.raises(DocumentTooLargeError, match="large is larger than 1000 bytes"):
        kept.open("large")
    with kept.open("large", whole=False) as document:
        assert document.info.size == LIMIT + 1


def edit_in_disguise(file: Path) -> None:
    before = file.stat()
    file.write_text(file.read_text().replace("alpha", "omega"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(edit_in_disguise, id="an edit of the same size with the time restored"),
        pytest.param(lambda file: file.chmod(0o600), id="other permissions"),
        pytest.param(
            lambda file: (file.rename(f"{file}.old"), file.write_text("alpha")), id="another file"
        ),
    ],
)
def test_every_change_gives_a_document_another_version(
    kept: Documents, documents: Path, change: Callable[[Path], object]
) -> None:
    with kept.open("readme.md") as before:
        assert before.is_unchanged()
        change(documents / "readme.md")
        assert not before.is_unchanged()
        with kept.open("readme.md") as after:
            assert after.version != before.version


# Writing


def test_a_document_is_created_with_the_folders_it_needs(kept: Documents, documents: Path) -> None:
    before = everything(documents)

    saved = kept.create("new/deep/notes.md", b"hello")

    assert (documents / "new" / "deep" / "notes.md").read_bytes() == b"hello"
    assert (saved.info.path, saved.info.size) == ("new/deep/notes.md", 5)
    assert kept.read("new/deep/notes.md")[1] == saved
    assert everything(documents) - before == {"new", "new/deep", "new/deep/notes.md"}


def test_of_several_that_create_the_same_document_one_succeeds(
    kept: Documents, documents: Path
) -> None:
    def create(number: int) -> str:
        try:
            kept.create("new/one.md", b"%d" % number * 500)
        except DocumentExistsError:
            return "exists"
        return "created"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(create, range(16)))

    assert sorted(outcomes) == ["created"] + ["exists"] * 15
    winner = outcomes.index("created")
    assert (documents / "new" / "one.md").read_bytes() == b"%d" % winner * 500
    assert everything(documents / "new") == {"one.md"}


def test_of_several_that_replace_the_version_they_know_one_succeeds(
    kept: Documents, documents: Path
) -> None:
    version = kept.read("readme.md")[1].version

    def replace(number: int) -> str:
        try:
            kept.replace("readme.md", b"%d" % number, version.__eq__)
        except DocumentChangedError:
            return "changed"
        return "replaced"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(replace, range(16)))

    assert sorted(outcomes) == ["changed"] * 15 + ["replaced"]
    assert (documents / "readme.md").read_text() == str(outcomes.index("replaced"))


def test_a_document_that_is_replaced_keeps_its_permissions(
    kept: Documents, documents: Path
) -> None:
    (documents / "readme.md").chmod(0o640)

    saved = kept.replace("readme.md", b"new")

    assert (documents / "readme.md").read_bytes() == b"new"
    assert stat.S_IMODE((documents / "readme.md").stat().st_mode) == 0o640
    assert kept.read("readme.md") == ("new", saved)


def test_a_reader_keeps_the_document_it_opened(kept: Documents) -> None:
    with kept.open("readme.md") as document:
        kept.replace("readme.md", b"new")
        assert document.read(0, 100) == b"alpha\nbeta\ngamma\n"


def test_the_other_name_of_a_file_is_not_written_through(kept: Documents, documents: Path) -> None:
    outside = documents.parent / "secret.txt"
    (documents / "same.txt").hardlink_to(outside)

    kept.replace("same.txt", b"new")

    assert outside.read_text() == "the secret\n"
    assert (documents / "same.txt").read_text() == "new"


def test_a_document_is_deleted_if_it_is_the_version_named(
    kept: Documents, documents: Path
) -> None:
    version = kept.read("readme.md")[1].version

    with pytest.raises(
        DocumentChangedError, match=r"readme\.md is not the version that was named"
    ):
        kept.delete("readme.md", "another".__eq__)
    assert (documents / "readme.md").exists()
    assert kept.delete("readme.md", version.__eq__) == "readme.md"
    assert not (documents / "readme.md").exists()


def test_a_draft_that_is_given_up_leaves_nothing(kept: Documents, documents: Path) -> None:
    before = everything(documents)
    with kept.draft("notes.md") as draft:
        draft.write(b"half a sen")
        assert len(everything(documents) - before) == 1

    assert everything(documents) == before


def test_a_draft_may_not_grow_above_the_limit(kept: Documents, documents: Path) -> None:
    before = everything(documents)
    with kept.draft("notes.md") as draft:
        for _ in range(10):
            draft.write(b"x" * 100)
        with pytest.raises(DocumentTooLargeError, match=r"notes\.md is larger than 1000 bytes"):
            draft.write(b"x")

    assert everything(documents) == before


def test_a_draft_whose_place_was_taken_meanwhile_does_not_take_it(
    kept: Documents, documents: Path
) -> None:
    with kept.draft("notes.md") as draft:
        (documents / "notes.md").write_text("first")
        with pytest.raises(DocumentExistsError, match=r"notes\.md: is there already"):
            draft.place()

    assert (documents / "notes.md").read_text() == "first"
    assert not [name for name in everything(documents) if "unfinished" in name]


def test_a_draft_takes_the_place_of_the_version_it_was_begun_for(
    kept: Documents, documents: Path
) -> None:
    version = kept.read("readme.md")[1].version
    with kept.redraft("readme.md", version.__eq__) as draft:
        draft.write(b"mine")
        kept.replace("readme.md", b"theirs")
        with pytest.raises(DocumentChangedError):
            draft.place()
    with kept.redraft("readme.md") as draft:
        draft.write(b"mine")
        assert kept.read("readme.md")[0] == "theirs"
        saved = draft.place()

    assert kept.read("readme.md") == ("mine", saved)
    assert not [name for name in everything(documents) if "unfinished" in name]


def test_a_folder_that_another_program_keeps_locked_is_not_waited_for_without_end(
    kept: Documents, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "LOCK_SECONDS", 0.0)
    before = everything(documents)
    other = os.open(documents, os.O_RDONLY)
    try:
        fcntl.flock(other, fcntl.LOCK_EX)
        for change in (lambda: kept.replace("readme.md", b"x"), lambda: kept.delete("readme.md")):
            with pytest.raises(FolderBusyError, match="another program keeps the folder locked"):
                change()
        assert everything(documents) == before
        # What only adds needs no lock.
        kept.create("new.md", b"x")
    finally:
        os.close(other)

    assert kept.replace("readme.md", b"x").info.size == 1


def test_a_writer_waits_for_another_one(
    kept: Documents, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.open(documents, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        os.close(other)

    monkeypatch.setattr(time, "sleep", wait)

    assert kept.replace("readme.md", b"x").info.size == 1
    assert len(waited) == 1


def test_documents_are_written_where_a_file_system_has_no_locks(
    kept: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)

    assert kept.replace("readme.md", b"x").info.size == 1


# Refusals, for everything that can be done

Action = Callable[[Documents, str], object]

READ = pytest.param(lambda kept, path: kept.read(path), id="read")
OPEN = pytest.param(lambda kept, path: kept.open(path, whole=False), id="open")
CREATE = pytest.param(lambda kept, path: kept.create(path, b"x"), id="create")
REPLACE = pytest.param(lambda kept, path: kept.replace(path, b"x"), id="replace")
DELETE = pytest.param(lambda kept, path: kept.delete(path), id="delete")
LIST = pytest.param(
    lambda kept, path: kept.list(path, recursive=True, hidden=True, limit=9), id="list"
)
ALL = [READ, OPEN, CREATE, REPLACE, DELETE, LIST]


@pytest.mark.parametrize("act", ALL)
@pytest.mark.parametrize(
    ("path", "error"),
    [
        pytest.param("../secret.txt", PathBlockedError, id="up"),
        pytest.param("teams/../../secret.txt", PathBlockedError, id="down and up"),
        pytest.param("/etc/passwd", PathBlockedError, id="absolute"),
        pytest.param("a\0b", PathBlockedError, id="NUL"),
        pytest.param("way-out/secret.txt", PathBlockedError, id="through a link that leads out"),
        pytest.param("secret-link", PathBlockedError, id="a link that leads out"),
        pytest.param("inner-link", PathRefusedError, id="a link that stays inside"),
        pytest.param("pipe", PathRefusedError, id="a pipe"),
        pytest.param("\ud800", PathRefusedError, id="no text"),
    ],
)
def test_no_path_leads_out_or_to_what_is_no_document(
    kept: Documents, documents: Path, act: Action, path: str, error: type[Exception]
) -> None:
    (documents / "way-out").symlink_to(documents.parent)
    (documents / "secret-link").symlink_to("../secret.txt")
    (documents / "inner-link").symlink_to("readme.md")
    os.mkfifo(documents / "pipe")
    before = everything(documents.parent)

    with pytest.raises(error) as told:
        act(kept, path)

    assert str(documents.parent) not in str(told.value)
    assert everything(documents.parent) == before
    assert (documents.parent / "secret.txt").read_text() == "the secret\n"


@pytest.mark.parametrize("act", [READ, OPEN, REPLACE, DELETE, LIST])
def test_what_is_not_there_cannot_be_used(kept: Documents, act: Action) -> None:
    with pytest.raises(NoSuchDocumentError, match=r"missing\.md: no such document"):
        act(kept, "missing.md")


@pytest.mark.parametrize("path", ["teams", "."])
@pytest.mark.parametrize("act", [READ, OPEN, REPLACE, DELETE])
def test_a_folder_is_no_document(kept: Documents, act: Action, path: str) -> None:
    with pytest.raises(NotADocumentError, match="is a folder"):
        act(kept, path)


def test_a_document_is_no_folder(kept: Documents) -> None:
    with pytest.raises(NotADocumentError, match=r"readme\.md is no folder"):
        names(kept, "readme.md")


@pytest.mark.parametrize("path", ["readme.md", "teams", ".", ""])
def test_what_is_there_is_not_created_again(kept: Documents, path: str) -> None:
    with pytest.raises(DocumentExistsError, match="is there already"):
        kept.create(path, b"x")


def test_a_document_cannot_be_put_into_another(kept: Documents) -> None:
    with pytest.raises(DocumentExistsError, match=r"readme\.md/x: leads through a file"):
        kept.create("readme.md/x", b"x")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("a\nb.md", id="a line break"),
        pytest.param("folder\x1b[31m/b.md", id="a terminal sequence"),
        pytest.param("n" * 256, id="too long"),
        pytest.param("n" * 256 + "/x", id="a folder too long"),
        pytest.param(".unfinished-mine", id="a name of unfinished documents"),
        pytest.param(".unfinished-x/secret.md", id="in a folder of such a name"),
        pytest.param("teams/.unfinished-x/deep/secret.md", id="deep in such a folder"),
    ],
)
def test_a_name_no_document_can_have(kept: Documents, documents: Path, path: str) -> None:
    before = everything(documents)
    with pytest.raises(BadNameError):
        kept.create(path, b"x")
    assert everything(documents) == before


@pytest.mark.parametrize(
    ("filename", "error"),
    [
        pytest.param("../../x", PathBlockedError, id="up"),
        pytest.param("/etc/x", PathBlockedError, id="absolute"),
        pytest.param("sub/x", PathBlockedError, id="a folder"),
        pytest.param("..\\x", PathBlockedError, id="up, in another system"),
        pytest.param("..", PathBlockedError, id="the folder above"),
        pytest.param("", BadNameError, id="none"),
        pytest.param(".", BadNameError, id="the folder"),
    ],
)
def test_the_name_of_an_uploaded_file_leads_nowhere(
    kept: Documents, filename: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        kept.draft(place_in("teams", filename))


def test_too_large_a_document_is_refused_before_anything_is_made(
    kept: Documents, documents: Path
) -> None:
    before = everything(documents)
    with pytest.raises(DocumentTooLargeError):
        kept.create("new/large.md", b"x" * (LIMIT + 1))
    with pytest.raises(DocumentTooLargeError):
        kept.replace("readme.md", b"x" * (LIMIT + 1))

    assert everything(documents) == before
    assert kept.create("new/full.md", b"x" * LIMIT).info.size == LIMIT


@pytest.mark.parametrize("act", ALL)
def test_documents_whose_folder_is_gone_are_back_when_it_is(
    kept: Documents, documents: Path, act: Action
) -> None:
    documents.rename(documents.with_name("elsewhere"))
    with pytest.raises(DataRootGoneError, match="the folder of documents is not there") as told:
        act(kept, "readme.md")
    assert str(documents) not in str(told.value)

    documents.with_name("elsewhere").rename(documents)
    assert kept.read("readme.md")[0] == "alpha\nbeta\ngamma\n"


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        pytest.param(errno.ENOSPC, StorageFullError, "no space left", id="a full disk"),
        pytest.param(errno.EFBIG, StorageFullError, "no space left", id="a full share"),
        pytest.param(
            errno.EROFS, AccessDeniedError, "the documents are read-only", id="read-only"
        ),
        pytest.param(errno.EACCES, AccessDeniedError, "permission denied", id="no right"),
        pytest.param(errno.EIO, OSError, "broken", id="what nobody foresaw"),
    ],
)
def test_what_the_system_refuses_is_told_and_leaves_nothing(
    kept: Documents,
    documents: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    error: type[Exception],
    reason: str,
) -> None:
    before = everything(documents)

    def refuse(*_: object) -> int:
        raise OSError(code, "broken")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(error, match=reason):
        kept.create("notes.md", b"x")
    with pytest.raises(error, match=reason):
        kept.replace("readme.md", b"x")

    assert everything(documents) == before
    assert (documents / "readme.md").read_text() == "alpha\nbeta\ngamma\n"


def test_no_descriptor_stays_open(
    kept: Documents, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.create("a/b.md", b"x")
    kept.replace("a/b.md", b"y")
    kept.read("a/b.md")
    names(kept, recursive=True)
    kept.delete("a/b.md")
    for act in (kept.read, kept.delete, lambda path: kept.create(path, b"x" * 2000)):
        with pytest.raises(DocumentError):
            act("missing.md")
    (documents / ".unfinished-0").touch()
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0")
    with pytest.raises(DocumentExistsError):
        kept.create("new.md", b"x")

    opened = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    # The root's own is kept open.
    assert [path for path in opened if path.is_relative_to(documents)] == [documents]
