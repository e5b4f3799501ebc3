"""No room is left for documents: it is said, and nothing half-written stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.target_app.resilience.full_disks import BALLAST, WAYS, Disk
from tests.target_app.resilience.llm_server import LLMServer
from tests.target_app.resilience.processes import AppProcess, running

pytestmark = pytest.mark.anyio

LARGE = "too much for what is left " * 10_000


@pytest.fixture(scope="module", params=WAYS)
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Disk:
    with WAYS[request.param](tmp_path_factory.mktemp("documents")) as made:
        yield made


@pytest.fixture(scope="module")
async def app(llm: LLMServer, disk: Disk) -> AsyncIterator[AppProcess]:
    async with running(llm, disk.folder, cache_size_limit=0) as started:
        yield started


def held(folder: Path) -> dict[str, str]:
    """Read every file in a folder, hidden ones too, but for what fills the disk."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != BALLAST]
    return {str(path.relative_to(folder)): path.read_text() for path in files}


WRITES = {
    "create": ("POST", "/api/documents", {"json": {"path": "new.md", "content": LARGE}}),
    "create in a new folder": (
        "POST",
        "/api/documents",
        {"json": {"path": "a/b/new.md", "content": LARGE}},
    ),
    "upload": ("POST", "/api/documents/upload", {"files": {"file": ("up.md", LARGE.encode())}}),
    "replace": ("PUT", "/api/documents/kept.md", {"json": {"content": LARGE}}),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_without_room_leaves_nothing(
    app: AppProcess, disk: Disk, write: str
) -> None:
    (disk.folder / "kept.md").write_text("kept as it was\n")
    before = held(disk.folder)
    method, path, body = WRITES[write]

    disk.fill(app.pid)
    try:
        refused: httpx.Response = await app.client.request(method, path, **body)
        listed = await app.client.get("/api/documents?recursive=true&hidden=true")
        read = await app.client.get("/api/documents/kept.md")
    finally:
        disk.free(app.pid)

    assert (refused.status_code, refused.json()["error"]) == (507, "STORAGE_FULL"), refused.text
    assert held(disk.folder) == before
    shown = [item["path"] for item in listed.json()["items"] if not item["is_directory"]]
    assert set(shown) - {BALLAST} == before.keys()
    assert read.json()["content"] == "kept as it was\n"
    again = await app.client.request(method, path, **body)
    assert again.status_code in {200, 201}, again.text
    for written in disk.folder.rglob("*.md"):
        written.unlink()
