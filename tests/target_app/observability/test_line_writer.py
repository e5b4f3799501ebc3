"""Lines are written by a thread that may be held up; whoever logs is not."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from target_app.observability.line_writer import LineWriter, to_stderr


class Stuck:
    """A reader of the log that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def write(self, data: bytes) -> None:
        self.reached.set()
        self.go_on.wait()
        self.taken.append(data)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    reader = Stuck()
    yield reader
    reader.go_on.set()


def counted(writer: LineWriter) -> Counter[str]:
    counts: Counter[str] = Counter()

    def count(result: str, lines: int, size_bytes: int) -> None:
        counts[result] += lines
        counts[f"{result} bytes"] += size_bytes

    writer.count = count
    return counts


def test_lines_are_written_in_order_and_counted() -> None:
    taken: list[bytes] = []
    writer = LineWriter(taken.append)
    counts = counted(writer)
    for number in range(100):
        writer.put(b"%d\n" % number)

    assert writer.flush(10)
    assert b"".join(taken) == b"".join(b"%d\n" % number for number in range(100))
    assert counts == {"written": 100, "written bytes": 290}
    # They were gathered, not written one by one.
    assert len(taken) < 50


def test_a_reader_that_takes_nothing_holds_up_nobody(stuck: Stuck) -> None:
    writer = LineWriter(stuck.write, max_lines=10)
    counts = counted(writer)
    writer.put(b"first\n")
    assert stuck.reached.wait(10)
    for number in range(25):
        writer.put(b"%02d\n" % number)

    assert counts == {"dropped": 15, "dropped bytes": 45}
    stuck.go_on.set()
    assert writer.flush(10)
    assert b"".join(stuck.taken).split() == [b"first", *(b"%02d" % n for n in range(10))]
    assert counts["written"] == 11


def test_a_reader_that_was_waited_for_in_vain_is_not_waited_for_again(stuck: Stuck) -> None:
    writer = LineWriter(stuck.write)
    writer.put(b"first\n")
    assert stuck.reached.wait(10)

    assert not writer.flush(0.01)
    # Longer than any test may take.
    assert not writer.flush(3600)

    stuck.go_on.set()
    while not writer.flush(10):
        # It did not take anything yet.
        pass
    writer.put(b"second\n")
    assert writer.flush(10), "it took something since, so it is waited for"


def test_what_waits_is_bounded_in_bytes(stuck: Stuck) -> None:
    writer = LineWriter(stuck.write, max_bytes=1000)
    counts = counted(writer)
    writer.put(b"x" * 400)
    assert stuck.reached.wait(10)
    writer.put(b"y" * 500)
    writer.put(b"z" * 101)
    writer.put(b"z" * 100)

    assert counts["dropped"] == 1
    stuck.go_on.set()
    assert writer.flush(10)
    assert len(b"".join(stuck.taken)) == 1000


@pytest.mark.parametrize("fault", [OSError("no reader"), ValueError("closed")])
def test_lines_that_nobody_can_read_any_more_are_dropped(fault: Exception) -> None:
    faults = [fault]
    taken: list[bytes] = []

    def write(data: bytes) -> None:
        if faults:
            raise faults.pop()
        taken.append(data)

    writer = LineWriter(write)
    counts = counted(writer)
    writer.put(b"lost\n")
    assert writer.flush(10)
    writer.put(b"kept\n")
    assert writer.flush(10)

    assert (taken, counts["dropped"], counts["written"]) == ([b"kept\n"], 1, 1)


def test_a_flush_of_nothing_returns_at_once() -> None:
    assert LineWriter(lambda _: None).flush(0)


def test_standard_error_is_written_whole_though_it_takes_only_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    class Stream:
        def fileno(self) -> int:
            return writing

    monkeypatch.setattr("sys.stderr", Stream())
    data = bytes(range(256)) * 4096
    got = bytearray()

    def read() -> None:
        while len(got) < len(data):
            got.extend(os.read(reading, 65536))

    reader = threading.Thread(target=read)
    reader.start()
    to_stderr(data)
    reader.join()
    os.close(reading)
    os.close(writing)
    assert bytes(got) == data


def test_what_stands_in_for_standard_error_is_written_too(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    to_stderr("für ü\n".encode())
    monkeypatch.setattr("sys.stderr", None)
    to_stderr(b"nowhere\n")

    assert capsys.readouterr().err == "für ü\n"
