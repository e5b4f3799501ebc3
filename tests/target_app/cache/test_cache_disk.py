"""The disk gives back what was put, or nothing, and never an exception to those who answer."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from target_app.cache import database
from target_app.cache import disk as disk_module
from target_app.cache.database import FILE_NAME, SCHEMA_VERSION
from target_app.cache.disk import RETRY_SECONDS, Disk, DiskError, Shelf
from target_app.cache.rows import ROW_OVERHEAD_BYTES, Row
from target_app.cache.state import State
from tests.target_app.cache.listening import EDITED, NOW, Heard

LIMIT_BYTES = 1_000_000


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Place:
    """A folder for caches, and the means to open one in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / FILE_NAME
        self.clock = Clock()
        self.heard = Heard()
        self.opened = contextlib.ExitStack()

    def disk(self, limit_bytes: int = LIMIT_BYTES) -> Disk:
        made = Disk(self.folder, limit_bytes, clock=self.clock)
        self.opened.callback(made.close)
        return made

    def shelf(self, limit_bytes: int = LIMIT_BYTES) -> tuple[Disk, Shelf]:
        made = self.disk(limit_bytes)
        return made, made.shelf("search", self.heard)

    def close(self) -> None:
        self.opened.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "caches" / "app")
    yield made
    made.close()


def put(shelf: Shelf, question: str, value: bytes = b"value", state: State = NOW) -> bool:
    row = Row(state.structure, state.contents, 0.5, 1, shelf.generation.now())
    return shelf.put(question, row, lambda: value, len(value))


def kept(shelf: Shelf, question: str, state: State = NOW) -> bytes | None:
    row = shelf.get(question, state)
    return None if row is None else row.value


def test_what_was_put_is_there_after_a_restart(place: Place) -> None:
    _, shelf = place.shelf()
    put(shelf, "q", b"\0 any bytes \xff")
    generation = shelf.generation.now()
    place.close()

    disk, shelf = place.shelf()

    assert shelf.get("q", NOW) == Row(
        NOW.structure, NOW.contents, 0.5, 1, generation, b"\0 any bytes \xff"
    )
    assert (len(disk), disk.size_bytes) == (1, 13 + ROW_OVERHEAD_BYTES)


def test_the_value_of_another_state_is_not_read(place: Place) -> None:
    disk, shelf = place.shelf()
    put(shelf, "q")
    disk.flush()

    row = shelf.get("q", EDITED)

    assert row == Row(NOW.structure, NOW.contents, 0.5, 1, shelf.generation.now(), None)


def test_a_question_has_one_answer(place: Place) -> None:
    disk, shelf = place.shelf()
    put(shelf, "q", b"old")
    put(shelf, "q", b"new", EDITED)
    disk.flush()

    assert (kept(shelf, "q"), kept(shelf, "q", EDITED), len(disk)) == (None, b"new", 1)


def test_what_was_dropped_is_gone(place: Place) -> None:
    disk, shelf = place.shelf()
    put(shelf, "q")
    disk.flush()

    shelf.drop("q")
    disk.flush()

    assert (shelf.get("q", NOW), len(disk), disk.size_bytes) == (None, 0, 0)


def test_nobody_else_may_read_the_cache(place: Place) -> None:
    disk, shelf = place.shelf()
    put(shelf, "q")
    disk.flush()

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in place.folder.iterdir()}

    assert oct(place.folder.stat().st_mode & 0o777) == "0o700"
    assert modes == dict.fromkeys(
        [FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", "lock", "search.generation"], "0o600"
    )


def test_what_was_used_longest_ago_makes_room(place: Place) -> None:
    disk, shelf = place.shelf(limit_bytes=10_000)
    for question in "abc":
        put(shelf, question, b"x" * 2500)
        disk.flush()
    shelf.touch("a")

    put(shelf, "d", b"x" * 2500)
    disk.flush()

    assert [kept(shelf, question) is not None for question in "abcd"] == [True, False, True, True]
    assert (place.heard.evictions, disk.size_bytes) == (
        {"disk": 1},
        3 * (2500 + ROW_OVERHEAD_BYTES),
    )


def test_a_use_is_remembered_over_a_restart(place: Place) -> None:
    disk, shelf = place.shelf(limit_bytes=7000)
    for question in "ab":
        put(shelf, question, b"x" * 2500)
        disk.flush()
    shelf.touch("a")
    place.close()

    disk, shelf = place.shelf(limit_bytes=7000)
    put(shelf, "c", b"x" * 2500)
    disk.flush()

    assert [kept(shelf, question) is not None for question in "abc"] == [True, False, True]


def test_the_limit_is_of_all_shelves_together(place: Place) -> None:
    disk, search = place.shelf(limit_bytes=10_000)
    others = Heard()
    content = disk.shelf("content", others)
    put(search, "q", b"x" * 5000)
    disk.flush()

    put(content, "q", b"x" * 5000)
    disk.flush()

    assert (disk.entries("search"), disk.entries("content")) == (0, 1)
    assert (place.heard.evictions["disk"], others.evictions["disk"]) == (1, 0)


def test_after_a_restart_the_limit_counts_what_was_there(place: Place) -> None:
    _, shelf = place.shelf()
    for number in range(100):
        put(shelf, str(number), b"x" * 1000)
    place.close()

    disk, shelf = place.shelf(limit_bytes=20_000)
    put(shelf, "new")
    disk.flush()

    assert 0 < disk.size_bytes <= 20_000
    assert kept(shelf, "new") == b"value"


def test_what_is_larger_than_the_disk_is_refused(place: Place) -> None:
    _, shelf = place.shelf(limit_bytes=1000)

    assert put(shelf, "q", b"x" * 1000) is False


def test_clearing_gives_the_room_back(place: Place) -> None:
    disk, shelf = place.shelf()
    for number in range(100):
        put(shelf, str(number), b"x" * 5000)
    disk.flush()

    count = shelf.clear()
    disk.flush()
    place.close()

    assert (count, len(disk), kept(place.shelf()[1], "7")) == (100, 0, None)
    assert place.file.stat().st_size < 100_000


def test_a_value_that_has_no_bytes_is_lost_and_nothing_else(place: Place) -> None:
    disk, shelf = place.shelf()
    row = Row(NOW.structure, NOW.contents, 0.5, 1, shelf.generation.now())

    shelf.put("surrogate", row, "\udcff".encode, 1)
    put(shelf, "q")
    disk.flush()

    assert (kept(shelf, "surrogate"), kept(shelf, "q")) == (None, b"value")
    assert place.heard.sets == {"error": 1}


@pytest.mark.parametrize(("limit", "value"), [("PENDING_LIMIT", 3), ("PENDING_LIMIT_BYTES", 15)])
def test_when_too_much_waits_to_be_written_the_rest_is_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(disk_module, limit, value)
    disk, shelf = place.shelf()
    begun, go_on = threading.Event(), threading.Event()

    def hold_up() -> bytes:
        begun.set()
        go_on.wait()
        return b""

    row = Row(NOW.structure, NOW.contents, 0.5, 1, shelf.generation.now())
    shelf.put("first", row, hold_up, 0)
    begun.wait()
    for number in range(5):
        put(shelf, str(number))
    go_on.set()

    assert disk.flush()
    assert [kept(shelf, str(number)) for number in range(5)] == [b"value"] * 3 + [None] * 2
    assert place.heard.sets == {"error": 2}


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 + 100])


def fill_with_garbage(file: Path) -> None:
    file.write_bytes(b"this is no database\n" * 500)


def spoil_the_middle(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xa5" * (size - 4096))


def be_of_another_version(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")


def lose_a_table(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE payloads")


DAMAGES = [
    truncate,
    fill_with_garbage,
    spoil_the_middle,
    be_of_another_version,
    lose_a_table,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_anew(place: Place, damage: Callable[[Path], None]) -> None:
    _, shelf = place.shelf()
    for number in range(50):
        put(shelf, str(number), b"%d" % number * 1000)
    place.close()
    damage(place.file)

    disk, shelf = place.shelf()
    found = [answer_or_error(shelf, str(number)) for number in range(50)]
    disk.flush()
    # The damage may only be found here.
    put(shelf, "new")
    disk.flush()
    put(shelf, "newer")
    disk.flush()

    right = [b"%d" % number * 1000 for number in range(50)]
    assert all(value in {None, right[number]} for number, value in enumerate(found))
    assert kept(shelf, "newer") == b"value"
    assert disk.is_usable


def answer_or_error(shelf: Shelf, question: str) -> bytes | None:
    with contextlib.suppress(DiskError):
        return kept(shelf, question)
    return None


@pytest.mark.parametrize(
    "setup",
    [
        pytest.param("CREATE TABLE results (name TEXT)", id="with a name of ours"),
        pytest.param("PRAGMA application_id = 42", id="with a number and nothing else"),
    ],
)
def test_a_database_of_another_program_is_left_alone(
    place: Place, caplog: pytest.LogCaptureFixture, setup: str
) -> None:
    place.folder.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(place.file)) as connection:
        connection.execute(setup)
    theirs = place.file.read_bytes()
    disk, shelf = place.shelf()

    for _ in range(2):
        put(shelf, "q")
        disk.flush()
        place.clock.seconds += RETRY_SECONDS

    assert (kept(shelf, "q"), disk.is_usable, place.heard.sets) == (None, False, {"error": 2})
    assert place.file.read_bytes() == theirs
    assert caplog.messages == [
        f"going on without the cache on disk: {FILE_NAME} is a database of another program"
    ]


def test_releases_that_keep_results_in_different_ways_do_not_share_a_file() -> None:
    assert str(SCHEMA_VERSION) in FILE_NAME


@pytest.mark.parametrize("damage", [truncate, fill_with_garbage, spoil_the_middle])
def test_a_file_damaged_while_in_use_is_made_anew(
    place: Place, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    disk, shelf = place.shelf()
    for number in range(50):
        put(shelf, str(number), b"%d" % number * 1000)
    disk.flush()
    checkpoint(place.file)
    damage(place.file)

    # Another process sees the file as it is now, this one some of what it has in memory.
    other = place.disk().shelf("search", Heard())
    for number in range(50):
        assert answer_or_error(other, str(number)) in {None, b"%d" % number * 1000}
    for one in (shelf, other):
        put(one, "new")
        one._disk.flush()
    put(shelf, "newer")
    disk.flush()

    assert (kept(shelf, "newer"), kept(other, "newer")) == (b"value", b"value")
    assert sum("made anew" in line for line in caplog.messages) == 1


def checkpoint(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("part", ["value", "checksum", "seconds"])
def test_a_flipped_bit_is_noticed(place: Place, part: str) -> None:
    _, shelf = place.shelf()
    put(shelf, "q", b"the answer is 42")
    place.close()
    with contextlib.closing(sqlite3.connect(place.file)) as connection:
        flips = {
            "value": "UPDATE payloads SET value = CAST('the answer is 43' AS BLOB)",
            "checksum": "UPDATE results SET checksum = zeroblob(16)",
            "seconds": "UPDATE results SET seconds = 'long'",
        }
        connection.execute(flips[part])
        connection.commit()

    disk, shelf = place.shelf()
    with pytest.raises(DiskError, match="value"):
        shelf.get("q", NOW)
    disk.flush()

    assert shelf.get("q", NOW) is None


def test_a_file_that_is_removed_is_made_again(place: Place) -> None:
    disk, shelf = place.shelf()
    put(shelf, "q")
    disk.flush()
    for path in place.folder.iterdir():
        path.unlink()
    place.folder.rmdir()

    put(shelf, "new")
    disk.flush()

    assert (kept(shelf, "q"), kept(shelf, "new"), place.file.exists()) == (None, b"value", True)


def test_where_no_folder_can_be_made_it_goes_on_without_and_comes_back(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place.folder.parent.write_text("a file where the folder should be")
    disk, shelf = place.shelf()
    put(shelf, "q")
    put(shelf, "q")
    without = (disk.is_usable, kept(shelf, "q"), shelf.clear(), disk.flush())

    place.folder.parent.unlink()
    put(shelf, "too soon")
    place.clock.seconds += RETRY_SECONDS
    put(shelf, "q")
    disk.flush()

    assert without == (False, None, 0, True)
    assert (disk.is_usable, kept(shelf, "too soon"), kept(shelf, "q")) == (True, None, b"value")
    assert place.heard.sets == {"error": 3}
    assert [line.split(":")[0] for line in caplog.messages] == [
        "going on without the cache on disk",
        "the cache on disk works again",
    ]


def test_while_another_program_locks_the_file_nothing_waits_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WRITER_WAITS_SECONDS", 0.01)
    disk, shelf = place.shelf()
    put(shelf, "known")
    disk.flush()
    with contextlib.closing(sqlite3.connect(place.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        read_meanwhile = kept(shelf, "known")
        put(shelf, "q")
        disk.flush()
        lost = (disk.is_usable, kept(shelf, "q"))
        other.execute("ROLLBACK")
    place.clock.seconds += RETRY_SECONDS

    put(shelf, "q")
    disk.flush()

    assert (read_meanwhile, lost) == (b"value", (False, None))
    assert (kept(shelf, "known"), kept(shelf, "q")) == (b"value", b"value")


def test_without_a_shared_generation_each_process_clears_for_itself(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    (place.folder / "search.generation").mkdir(parents=True)
    disk, shelf = place.shelf()
    put(shelf, "q")
    disk.flush()

    cleared = shelf.clear()
    disk.flush()

    assert (cleared, shelf.get("q", NOW)) == (1, None)
    assert caplog.messages == [
        "other processes may keep what is cleared here: Is a directory",
    ]


def test_closing_writes_what_waits_and_leaves_nothing_open(place: Place) -> None:
    before = (threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))
    _, shelf = place.shelf()
    for number in range(50):
        put(shelf, str(number))
    place.close()
    after = (threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))

    disk, _ = place.shelf()

    assert (after, len(disk)) == (before, 50)


def test_once_closed_it_holds_and_answers_nothing(place: Place) -> None:
    _, shelf = place.shelf()
    put(shelf, "q")
    place.close()

    put(shelf, "late")

    assert (shelf.get("q", NOW), place.heard.sets) == (None, {"error": 1})
