"""Several processes share one cache, and whatever happens to one of them harms no other."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from target_app.cache.disk import Disk
from tests.target_app.cache.child_cache import LIMIT_BYTES, Asker, kept, put, value_of
from tests.target_app.cache.listening import Heard

pytestmark = pytest.mark.anyio


@contextlib.contextmanager
def child(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run the other process as long as the block lasts."""
    command = [sys.executable, "-m", "tests.target_app.cache.child_cache", *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str], line: str) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


async def test_two_processes_answer_for_each_other(documents: Path, tmp_path: Path) -> None:
    (documents / "teams/blue.txt").unlink()
    (documents / "teams/red.txt").unlink()
    (documents / "teams").rmdir()
    asker = Asker(documents, tmp_path / "cache")
    with child("ask", documents, tmp_path / "cache") as other:
        first = tell(other, "ask")
        found_here = await asker.ask()
        (documents / "readme.md").write_text("changed")
        changed_here = await asker.ask()
        changed_there = tell(other, "ask")
        cleared_here = asker.cache.clear()
        after_there = tell(other, "ask")
        after_here = await asker.ask()
        cleared_there = tell(other, "clear")
        last_here = await asker.ask()
    asker.close()

    old, new = "alpha\nbeta\ngamma\n", "changed"
    assert (first, found_here) == ([old, False], (old, True))
    assert (changed_here, changed_there) == ((new, False), [new, True])
    assert (cleared_here, after_there, after_here) == (1, [new, False], (new, True))
    assert (cleared_there, last_here) == (1, (new, False))


def test_what_was_written_before_a_kill_is_right(tmp_path: Path) -> None:
    for _ in range(2):
        with child("write", tmp_path) as one, child("write", tmp_path) as other:
            for writer in (one, other):
                assert writer.stdout is not None
                writer.stdout.readline()
                writer.stdout.readline()
            one.kill()
            other.kill()

        disk = Disk(tmp_path, LIMIT_BYTES)
        shelf = disk.shelf("search", Heard())
        values = [kept(shelf, number) for number in range(500)]
        put(shelf, 7)
        disk.flush()
        works_on = kept(shelf, 7) == value_of(7)
        disk.close()

        assert all(value in {None, value_of(number)} for number, value in enumerate(values))
        assert len(values) - values.count(None) >= 20
        assert works_on


def test_on_a_full_disk_results_are_lost_until_there_is_room(tmp_path: Path) -> None:
    with child("full", tmp_path / "cache") as full:
        printed, _ = full.communicate()

    told = json.loads(printed)

    assert told["lost"] > 0
    assert told["kept"] + told["lost"] >= 101
    assert (told["right"], told["last"]) == (True, [1000])
