"""What one app remembered, another one with a narrower root must not tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from target_app.agent.messages import ToolCall
from tests.target_app.attacks.siege import Siege, besieged
from tests.target_app.attacks.tool_calls import valid
from tests.target_app.attacks.world import World, make_world

pytestmark = pytest.mark.anyio


@pytest.fixture
def both(tmp_path: Path) -> World:
    """A root, and within it a folder that is the root of a second app."""

    def make_folder(name: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        return place

    world = make_world(make_folder)
    (world.root / "private.txt").write_text("only for the wider root\n")
    (world.root / "teams" / "readme.md").write_text("another one of that name\n")
    return world


async def _read(siege: Siege, path: str) -> str | None:
    [result] = await siege.results(ToolCall("call-1", *valid("cat", path=path)))
    return result["stdout"] if result["success"] else None


async def test_a_narrower_root_is_told_nothing_of_what_the_wider_one_remembered(
    both: World, level: str, environment: None
) -> None:
    cache = both.state / "shared"
    async with besieged(both, level, cache_directory=cache) as wide:
        assert await _read(wide, "private.txt") == "only for the wider root"
        assert await _read(wide, "readme.md") == "alpha\nbeta\ngamma"

    narrow_root = both.root / "teams"
    async with besieged(both, level, cache_directory=cache, data_root_path=narrow_root) as narrow:
        for path in ("../private.txt", "private.txt", "../readme.md", f"{both.root}/private.txt"):
            assert await _read(narrow, path) is None
        assert await _read(narrow, "readme.md") == "another one of that name"
        blocks, errors = await narrow.counts()

    assert +blocks == +errors == {"path_traversal": 3}


ROUTES = (
    "/api/documents",
    "/api/documents/readme.md",
    "/api/documents?path=.",
    "/api/stream/file/readme.md",
    "/api/chat/sessions/any/history",
    "//api/documents",
    "/api//documents",
    "/./api/documents",
    "/health/../api/documents",
    "/API/documents",
    "/api%2fdocuments",
    "/%61pi/documents",
    "/api/./documents",
    "http://app/api/documents",
)

TOKENS = ("", "Bearer", "Bearer ", "Bearer token-", "Bearer TOKEN-1", "Basic token-1", "token-1",
    "Bearer token-1\udcff", "Bearer token-1, token-1", "Bearer  ", "Bearer None")  # fmt: skip


async def test_without_the_token_no_spelling_of_a_route_shows_anything(
    both: World, environment: None
) -> None:
    async with besieged(both, "paths", api_token="token-1") as siege:
        for target in ROUTES:
            answer = await siege.send("GET", target)
            assert answer.status in {400, 401, 404}, (target, answer)
        for token in TOKENS:
            headers = {"Authorization": token}
            answer = await siege.send("GET", "/api/documents", headers=headers)
            assert answer.status in {400, 401}, (token, answer)

        headers = {"Authorization": "Bearer token-1"}
        assert (await siege.send("GET", "/api/documents", headers=headers)).status == 200
