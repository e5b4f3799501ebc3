"""A folder of a million entries."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from target_app.agent.messages import ToolCall
from tests.target_app.attacks.siege import Siege
from tests.target_app.attacks.tool_calls import TOOLS, valid
from tests.target_app.attacks.world import World, make_world

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

ENTRIES = 1_000_000
OUTPUT_BYTES = 1024 * 1024
SHARED_MEMORY = Path("/dev/shm")

# Names of one file are the cheapest entries to make, and two processes the fastest to make them.
FILL = """
import os, sys
folder, part, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
fd = os.open(folder, os.O_RDONLY)
os.close(os.open(f"{part}.txt", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
for number in range(1, count):
    os.link(f"{part}.txt", f"{part}{number}.txt", src_dir_fd=fd, dst_dir_fd=fd)
"""
EMPTY = """
import os, sys
folder, part, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
fd = os.open(folder, os.O_RDONLY)
os.unlink(f"{part}.txt", dir_fd=fd)
for number in range(1, count):
    os.unlink(f"{part}{number}.txt", dir_fd=fd)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Make the documents where there are no writes to a disk, and a full folder beside them."""
    top = SHARED_MEMORY if SHARED_MEMORY.is_dir() else tmp_path_factory.getbasetemp()
    base = Path(tempfile.mkdtemp(dir=top))

    def make_folder(name: str) -> Path:
        place = base / name
        place.mkdir()
        return place

    try:
        made = replace(make_world(make_folder), crowded=("crowd",))
        crowd = made.root / "crowd"
        crowd.mkdir()
        _in_two_processes(FILL, crowd)
        yield made
        _in_two_processes(EMPTY, crowd)
    finally:
        shutil.rmtree(base)


def _in_two_processes(program: str, folder: Path) -> None:
    running = [
        subprocess.Popen([sys.executable, "-S", "-c", program, folder, part, str(ENTRIES // 2)])
        for part in "ab"
    ]
    assert [process.wait() for process in running] == [0, 0]


@pytest.mark.parametrize("tool", ["ls", "find", "grep", "tree"])
async def test_a_folder_of_a_million_entries_costs_little(siege: Siege, tool: str) -> None:
    call = ToolCall("call-1", *valid(tool, path="crowd"))

    async def go() -> None:
        [result] = await siege.results(call)
        assert len(result["stdout"]) <= OUTPUT_BYTES
        assert result["success"], result
        assert "passed over" in result["stderr"], result

    await siege.withstand(go, blocks={})


async def test_a_folder_of_a_million_entries_is_no_file(siege: Siege) -> None:
    calls = [
        ToolCall(tool, *valid(tool, path="crowd"))
        for tool in TOOLS
        if tool not in {"ls", "find", "grep", "tree"}
    ]

    async def go() -> None:
        results = await siege.results(*calls)
        assert [result["success"] for result in results] == [False] * len(calls)

    await siege.withstand(go, blocks={})


async def test_a_folder_of_a_million_entries_is_listed_in_part(siege: Siege) -> None:
    async def go() -> None:
        for query in ("path=crowd", "path=.&recursive=true&limit=10000"):
            answer = await siege.send("GET", f"/api/documents?{query}")
            assert answer.status == 200, answer
            assert answer.json()["truncated"] is True

    await siege.withstand(go, blocks={})


async def test_a_file_in_a_folder_of_a_million_entries_is_read_as_any_other(siege: Siege) -> None:
    call = ToolCall("call-1", *valid("cat", path="crowd/a.txt"))

    async def go() -> None:
        [result] = await siege.results(call)
        assert (result["success"], result["stdout"]) == (True, "")

    await siege.withstand(go, blocks={})
