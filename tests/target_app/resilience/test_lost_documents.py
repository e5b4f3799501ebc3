"""The folder of documents goes, comes back or becomes another one while the app runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from tests.target_app.resilience.llm_server import LLMServer, plan
from tests.target_app.resilience.processes import (
    AppProcess,
    AppStartError,
    events,
    running,
    settled,
)
from tests.target_app.scripted import call

pytestmark = pytest.mark.anyio

GONE = "the folder of documents is gone"
LONG_LINES = 10_000
LONG_LINE = f"needle {'x' * 1900}\n"
"""What is told of so many of them is far more than a connection holds for its reader."""

CALLS = [
    call("ls", path="."),
    call("find", path=".", name_pattern="*.md"),
    call("grep", path=".", pattern="colour"),
    call("cat", path="readme.md"),
    call("smart_read", path="readme.md"),
]


class Home:
    """Where the documents are, and where they are put to be out of the way."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "documents"
        self.aside = folder / "aside"
        self.fill("red")

    def fill(self, colour: str) -> None:
        self.root.mkdir()
        (self.root / "readme.md").write_text(f"the colour is {colour}\n")

    def put_aside(self) -> None:
        self.root.rename(self.aside)

    def remove(self) -> None:
        shutil.rmtree(self.root)

    def reset(self) -> None:
        shutil.rmtree(self.aside, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.fill("red")


def truth(colour: str) -> list[str]:
    text = f"the colour is {colour}"
    return ["readme.md", "readme.md", f"readme.md:1:{text}", text, text]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module", params=["paths", "landlock"])
async def app(
    request: pytest.FixtureRequest, llm: LLMServer, home: Home
) -> AsyncIterator[AppProcess]:
    level: str = request.param
    home.reset()
    try:
        async with running(llm, home.root, isolation=level) as started:
            yield started
    except AppStartError as error:
        # Where the tests must prove something, a level that is missing is no excuse.
        if os.environ.get("CI") or "cannot be had" not in str(error):
            raise
        pytest.skip(f"isolation {level} cannot be had here")


@pytest.fixture(autouse=True)
async def in_order(app: AppProcess, home: Home) -> AsyncIterator[None]:
    """Begin with answers that are remembered, and leave the folder as it was."""
    await settled()
    assert await app.says(*CALLS) == truth("red")
    yield
    home.reset()


REQUESTS: dict[str, Callable[[httpx.AsyncClient], httpx.Request]] = {
    "list": lambda to: to.build_request("GET", "/api/documents"),
    "read": lambda to: to.build_request("GET", "/api/documents/readme.md"),
    "download": lambda to: to.build_request("GET", "/api/documents/readme.md?download=true"),
    "create": lambda to: to.build_request(
        "POST", "/api/documents", json={"path": "new/deep.md", "content": "x"}
    ),
    "upload": lambda to: to.build_request(
        "POST", "/api/documents/upload", files={"file": ("new.md", b"x")}
    ),
    "replace": lambda to: to.build_request(
        "PUT", "/api/documents/readme.md", json={"content": "x"}
    ),
    "delete": lambda to: to.build_request("DELETE", "/api/documents/readme.md"),
    "stream": lambda to: to.build_request("GET", "/api/stream/file/readme.md"),
    "search": lambda to: to.build_request("GET", "/api/stream/search/readme.md?pattern=x"),
}


@pytest.mark.parametrize("goes", [Home.put_aside, Home.remove], ids=["moved", "removed"])
async def test_documents_that_are_gone_are_said_to_be(
    app: AppProcess, home: Home, goes: Callable[[Home], None]
) -> None:
    goes(home)

    results = await app.results(*CALLS)
    told = {name: await app.client.send(REQUESTS[name](app.client)) for name in REQUESTS}
    heard = await app.stream(plan(CALLS))
    ready, health = await app.client.get("/ready"), await app.client.get("/health")

    assert [(result["success"], result["error"]) for result in results] == [(False, GONE)] * 5
    assert {name: answer.status_code for name, answer in told.items()} == dict.fromkeys(told, 503)
    assert {answer.json()["error"] for answer in told.values()} == {"DATA_ROOT_GONE"}
    outputs = [data["output"] for name, data in heard if name == "tool_result"]
    assert (outputs, heard[-1][0]) == ([GONE] * 5, "done")
    assert ready.status_code == 503
    assert ready.json()["details"] == {"data_root": False, "sandbox": True}
    assert health.status_code == 200
    assert (health.json()["status"], health.json()["data_root_exists"]) == ("degraded", False)
    assert not home.root.exists()
    everything = "".join([str(results), str(heard), *(answer.text for answer in told.values())])
    assert str(home.root) not in everything


async def test_documents_that_come_back_are_read_again(app: AppProcess, home: Home) -> None:
    home.put_aside()
    assert {result["error"] for result in await app.results(*CALLS)} == {GONE}

    home.aside.rename(home.root)

    assert await app.says(*CALLS) == truth("red")
    assert (await app.client.get("/ready")).status_code == 200


async def test_documents_that_are_made_again_are_the_new_ones(app: AppProcess, home: Home) -> None:
    home.remove()
    assert {result["error"] for result in await app.results(*CALLS)} == {GONE}

    home.fill("tan")

    assert await app.says(*CALLS) == truth("tan")
    assert (await app.client.get("/ready")).status_code == 200
    created = await app.client.send(REQUESTS["create"](app.client))
    assert created.status_code == 201
    assert (home.root / "new" / "deep.md").read_text() == "x"


async def test_documents_that_were_exchanged_are_never_mistaken(
    app: AppProcess, home: Home
) -> None:
    for colour in ("tan", "sky", "ash"):
        home.put_aside()
        home.fill(colour)

        assert await app.says(*CALLS) == truth(colour)
        read = await app.client.send(REQUESTS["read"](app.client))
        assert read.json()["content"] == f"the colour is {colour}\n"
        shutil.rmtree(home.aside)

    # The one that was there first is another one now, too.
    home.put_aside()
    home.fill("red")
    home.remove()
    home.aside.rename(home.root)
    assert await app.says(*CALLS) == truth("ash")


@pytest.mark.parametrize(
    ("query", "goes", "end"),
    [
        pytest.param("", Home.remove, "FILE_CHANGED", id="a file that is removed"),
        pytest.param("", Home.put_aside, None, id="a file that is moved"),
        pytest.param(
            "?query=needle", Home.remove, "FILE_CHANGED", id="a search whose file is removed"
        ),
        pytest.param(
            "?query=needle", Home.put_aside, "FILE_CHANGED", id="a search whose file moves"
        ),
    ],
)
async def test_documents_that_go_in_the_middle_of_a_stream(
    app: AppProcess, home: Home, query: str, goes: Callable[[Home], None], end: str | None
) -> None:
    (home.root / "long.txt").write_text(LONG_LINE * LONG_LINES)
    text = ""
    async with app.client.stream("GET", f"/api/stream/file/long.txt{query}") as answer:
        pieces = answer.aiter_text()
        text += await anext(pieces)
        goes(home)
        text += "".join([piece async for piece in pieces])

    name, data = events(text)[-1]
    if end is None:
        assert (name, data["total_bytes"]) == ("done", len(LONG_LINE) * LONG_LINES)
    else:
        assert (name, data["type"]) == ("error", end)
