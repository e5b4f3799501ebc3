"""Files and folders that turn into links while they are being opened, hundreds of times."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from target_app.agent.messages import ToolCall
from tests.target_app.attacks.siege import Siege
from tests.target_app.attacks.tool_calls import valid

pytestmark = pytest.mark.anyio

# Two names change places in one step: there is never nothing at either.
SWAP = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
one, other = map(os.fsencode, sys.argv[1:3])
pause = float(sys.argv[3])
here, exchange = -100, 2
print("swapping", flush=True)
while libc.renameat2(here, one, here, other, exchange) == 0:
    time.sleep(pause) if pause else None
os._exit(1)
"""

PAUSE_SECONDS = 0.0001
"""Short enough to fall between any two steps of a call, long enough not to be a flood."""

TRIES = 200
MOST_TRIES = 6000
CALLS_A_TURN = 30


@contextmanager
def swapping(
    place: Path,
    link_to: str,
    make: Callable[[Path], None],
    *,
    pause_seconds: float = PAUSE_SECONDS,
) -> Iterator[None]:
    """Have `place` be now what `make` makes and now a link."""
    other = place.with_name(f"{place.name}-other")
    make(place)
    other.symlink_to(link_to)
    program = [sys.executable, "-S", "-c", SWAP, place, other, str(pause_seconds)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"swapping\n"
            yield
        finally:
            process.kill()


def a_file(place: Path) -> None:
    place.write_text("as it should be\n")


def a_folder(place: Path) -> None:
    place.mkdir()
    (place / "secret.txt").write_text("as it should be\n")


SWAPS = [
    pytest.param("../../secret.txt", a_file, "", id="a file and a link to a secret"),
    pytest.param("../../secret.txt", a_folder, "/secret.txt", id="a folder and a link to a file"),
    pytest.param("<elsewhere>", a_folder, "/secret.txt", id="a folder in the middle of a path"),
    pytest.param("../..", a_folder, "/secret.txt", id="a folder and a link above the root"),
]


@pytest.mark.parametrize(("link_to", "make", "rest"), SWAPS)
async def test_what_is_read_was_authorised_however_often_it_is_swapped(
    siege: Siege, link_to: str, make: Callable[[Path], None], rest: str
) -> None:
    place = siege.world.root / "swapped" / "place"
    place.parent.mkdir(exist_ok=True)
    path = f"swapped/place{rest}"
    calls = [
        ToolCall(f"call-{number}", *valid(tool, path=path))
        for number in range(CALLS_A_TURN // 3)
        for tool in ("cat", "grep", "head")
    ]
    searches = [
        ToolCall(f"search-{number}", *valid("grep", path="swapped", pattern=".", regex=True))
        for number in range(CALLS_A_TURN)
    ]
    read: set[bool] = set()
    made = 0

    async def go() -> None:
        nonlocal made
        with swapping(place, link_to.replace("<elsewhere>", str(siege.world.elsewhere)), make):
            made = 0
            # The race is only run where both outcomes were seen.
            while made < TRIES or (len(read) < 2 and made < MOST_TRIES):
                for turn in (calls, searches):
                    results = await siege.results(*turn)
                    made += len(results)
                    read.update(result["success"] for result in results if turn is calls)

    await siege.withstand(go, writes=["swapped"], undo=lambda: _remove(place.parent))
    assert read == {True, False}


@pytest.mark.alone
async def test_a_flood_of_changes_does_not_hold_up_the_app(siege: Siege) -> None:
    place = siege.world.root / "swapped" / "place"
    place.parent.mkdir(exist_ok=True)
    searches = [ToolCall(f"in {path}", *valid("find", path=path)) for path in ("swapped", "teams")]

    async def go() -> None:
        with swapping(place, "../../secret.txt", a_file, pause_seconds=0):
            for _ in range(20):
                for result in await siege.results(*searches):
                    assert result["success"], result

    await siege.withstand(go, blocks={}, writes=["swapped"], undo=lambda: _remove(place.parent))


async def test_nothing_is_written_or_deleted_through_a_folder_that_is_swapped(
    siege: Siege,
) -> None:
    place = siege.world.root / "swapped" / "place"
    place.parent.mkdir(exist_ok=True)
    statuses: set[int] = set()

    async def go() -> None:
        with swapping(place, str(siege.world.elsewhere), a_folder):
            tries = 0
            while tries < 40 or (not {201, 403} <= statuses and tries < 600):
                tries += 1
                target = "/api/documents/swapped/place/secret.txt"
                new = {"path": f"swapped/place/{tries}.txt", "content": "new"}
                for answer in (
                    await siege.post(target, {"content": "changed"}, "PUT"),
                    await siege.post("/api/documents", new),
                    await siege.send("DELETE", target),
                ):
                    statuses.add(answer.status)
                    assert answer.status < 500, answer

    await siege.withstand(go, writes=["swapped"], undo=lambda: _remove(place.parent))
    assert 201 in statuses


async def test_a_remembered_file_that_became_a_link_is_not_remembered_any_more(
    siege: Siege,
) -> None:
    place = siege.world.root / "swapped" / "place"
    place.parent.mkdir(exist_ok=True)
    read = ToolCall("call-1", *valid("cat", path="swapped/place"))
    seen: list[bool] = []

    async def go() -> None:
        a_file(place)
        seen[:] = [result["success"] for _ in range(2) for result in await siege.results(read)]
        place.unlink()
        place.symlink_to("../../secret.txt")
        seen.extend(result["success"] for result in await siege.results(read))

    await siege.withstand(
        go,
        blocks={"path_traversal": 1},
        writes=["swapped"],
        undo=lambda: _remove(place.parent),
    )
    assert seen == [True, True, False]


def _remove(folder: Path) -> None:
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in files:
            (Path(parent) / name).unlink()
        for name in folders:
            path = Path(parent) / name
            path.unlink() if path.is_symlink() else path.rmdir()
