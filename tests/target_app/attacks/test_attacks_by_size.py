"""Files, folders, lines and patterns so large that reading them whole would bring the app down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from target_app.agent.messages import ToolCall
from target_app.sandbox.result import Block
from tests.target_app.attacks.siege import Siege
from tests.target_app.attacks.tool_calls import TOOLS, valid
from tests.target_app.attacks.world import World, make_world

pytestmark = pytest.mark.anyio

GIBIBYTE = 1024**3
DEPTH = 1000
HUGE_LINES = 10_000
CALLS = 10_000
OUTPUT_BYTES = 1024 * 1024

SMALL_LINES = "".join(f"line {number}\n" for number in range(500))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Make documents that are large and take no room, and folders within folders."""
    made = replace(make_world(tmp_path_factory.mktemp), crowded=("deep",))
    _sparse(made.root / "large" / "zeros.txt", b"", GIBIBYTE, b"")
    _sparse(made.root / "large" / "begun.txt", SMALL_LINES.encode(), GIBIBYTE, b"\nomega\n")
    _sparse(made.root / "large" / "one-line.txt", b"alpha " * 500, 500_000_000, b"omega")
    deepest = _nested(made.root / "deep", DEPTH)
    yield made
    while deepest != made.root:
        deepest.rmdir()
        deepest = deepest.parent


@pytest.fixture(scope="module")
def settings() -> dict[str, object]:
    """Let no command take long: what matters is that it ends and what it holds meanwhile."""
    # A file of some bytes is read by searching it, as a large one would be.
    return {"command_timeout": 0.5, "small_file_threshold": 10}


FILES = ("zeros.txt", "begun.txt", "one-line.txt")
OPTIONS = {"head": {"lines": HUGE_LINES}, "tail": {"lines": HUGE_LINES}, "preview": {"lines": 500}}
READ_WHOLE = {("wc", "begun.txt"), ("grep", "one-line.txt")}
"""For the tools that may look at every byte, one huge file is enough."""


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        (tool, name)
        for tool in TOOLS
        for name in FILES
        if (tool, name) in READ_WHOLE or tool not in dict(READ_WHOLE)
    ],
)
async def test_a_huge_sparse_file_costs_little_with_every_tool(
    siege: Siege, tool: str, name: str
) -> None:
    call = ToolCall("call-1", *valid(tool, path=f"large/{name}", **OPTIONS.get(tool, {})))
    results = []

    async def go() -> None:
        results[:] = await siege.results(call)

    blocks: dict[Block, int] = {"file_too_large": 1} if tool == "cat" else {}
    await siege.withstand(go, blocks=blocks)

    [result] = results
    assert len(result["stdout"]) <= OUTPUT_BYTES
    assert result["success"] or not result["stdout"], result
    if tool == "cat":
        assert not result["success"]
    if tool in {"find", "ls"}:
        assert name in result["stdout"]


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(valid("grep", path="large", pattern="omega"), id="a search"),
        pytest.param(
            valid("grep", path="large", pattern="o.*a$", regex=True, ignore_case=True),
            id="a search by a regular expression",
        ),
        pytest.param(valid("find", path="large"), id="a search by name"),
        pytest.param(valid("tree", path="large"), id="a tree"),
        pytest.param(
            valid("smart_read", path="large/begun.txt", query="omega"), id="a read with a query"
        ),
    ],
)
async def test_a_folder_of_huge_sparse_files_costs_little(
    siege: Siege, call: tuple[str, str]
) -> None:
    async def go() -> None:
        [result] = await siege.results(ToolCall("call-1", *call))
        assert len(result["stdout"]) <= OUTPUT_BYTES

    await siege.withstand(go, blocks={})


@pytest.mark.parametrize("name", FILES)
async def test_a_huge_file_streamed_and_left_half_way_costs_little(
    siege: Siege, name: str
) -> None:
    received = []

    async def go() -> None:
        received[:] = [
            await siege.send("GET", f"/api/stream/file/large/{name}", leave_after=2_000_000),
            await siege.send(
                "GET", f"/api/stream/search/large/{name}?pattern=(a%2B)%2B$", leave_after=500
            ),
            await siege.send("GET", f"/api/stream/file/large/{name}?query=omega", leave_after=500),
        ]

    await siege.withstand(go, blocks={})
    assert {answer.status for answer in received} <= {200, 413, 415, 422}


@pytest.mark.parametrize("name", FILES)
async def test_a_huge_file_is_not_read_whole_as_a_document(siege: Siege, name: str) -> None:
    async def go() -> None:
        answer = await siege.send("GET", f"/api/documents/large/{name}")
        assert (answer.status, answer.json()["error"]) == (413, answer.json()["error"])

    await siege.withstand(go, blocks={"file_too_large": 1})


DEEP_CALLS = [
    valid("find", path="deep"),
    valid("tree", path="deep", max_depth=20),
    valid("grep", path="deep", pattern="alpha"),
    valid("ls", path="deep"),
    *(valid(tool, path="/".join(["deep", *["d"] * (DEPTH - 1)])) for tool in TOOLS),
    *(valid(tool, path="/".join(["deep", *["d"] * 64])) for tool in TOOLS),
    *(valid(tool, path="d/" * 2048) for tool in TOOLS),
]


async def test_a_thousand_folders_within_each_other_cost_little(siege: Siege) -> None:
    async def go() -> None:
        calls = [ToolCall(f"call-{n}", *call) for n, call in enumerate(DEEP_CALLS)]
        results = await siege.results(*calls)
        assert [result["success"] for result in results[:4]] == [True] * 4
        answer = await siege.send("GET", "/api/documents?path=deep&recursive=true")
        assert answer.status == 200, answer

    await siege.withstand(go, blocks={})


NESTED = "".join("(" * 200 + "a" + "+)" * 200)

BOMBS = {
    "a group repeated within a repetition": "(a+)+$",
    "alternatives that say the same": "(a|a|aa)+$",
    "an optional repeated": "(a?){500}a{500}",
    "a thousand times a thousand": "(x{1000}){1000}",
    "a thousand times a thousand of anything": "((.{1000}){1000}){1000}",
    "repetitions nested two hundred deep": NESTED[:500],
    "many alternatives": "|".join(f"a{number}b" for number in range(80)),
    "a back reference": "(a+)\\1+$",
    "a look ahead": "(?=(a+))a*$",
    "a look behind": "(?<=a)b",
    "an atomic group": "(?>a+)b",
    "a recursive group": "(?R)",
    "a conditional group": "(a)?(?(1)b|c)",
    "a comment": "(?#comment",
    "an unclosed group": "((((",
    "an unclosed class": "[[[[",
    "a class of everything": "[^\\x00-\\x{10FFFF}]",
    "all letters of Unicode, often": "\\pL{500}\\pN{500}",
    "a single byte": "\\C+",
    "a quoted rest": "\\Q(a+)+$",
    "flags": "(?isU)(A+)+$",
    "a repetition of nothing": "(){1000}(|){1000}",
    "anchors repeated": "(^|$)*\\b*\\B*",
    "anything, long, then what is not there": "a.{0,900}b.{0,900}c",
    "a number too large": "a{99999999999}",
    "a lone backslash": "\\",
}


@pytest.mark.parametrize("pattern", [pytest.param(text, id=what) for what, text in BOMBS.items()])
async def test_a_pattern_that_explodes_elsewhere_costs_little(siege: Siege, pattern: str) -> None:
    searches = [
        valid("grep", path="bomb.txt", pattern=pattern, regex=True),
        valid("grep", path=".", pattern=pattern, regex=True, ignore_case=True),
        valid("smart_read", path="bomb.txt", query=pattern),
    ]

    async def go() -> None:
        calls = [ToolCall(f"call-{n}", *call) for n, call in enumerate(searches)]
        for result in await siege.results(*calls):
            assert result["success"] or result["error"], result
        for target in ("/api/stream/search/bomb.txt?pattern=", "/api/stream/file/bomb.txt?query="):
            answer = await siege.send("GET", target + _escaped(pattern))
            assert answer.status in {200, 400, 422}, answer

    await siege.withstand(go, blocks={})


async def test_patterns_of_100_kilobytes_are_refused(siege: Siege) -> None:
    pattern = "(a|b)" * 20_000

    async def go() -> None:
        calls = (
            valid("grep", path=".", pattern=pattern, regex=True),
            valid("find", name_pattern=pattern),
        )
        results = await siege.results(*(ToolCall(f"{n}", *call) for n, call in enumerate(calls)))
        assert [result["success"] for result in results] == [False, False]
        for target in ("/api/stream/search/bomb.txt?pattern=", "/api/stream/file/bomb.txt?query="):
            # A server may refuse so long an address before the app sees it.
            answer = await siege.send("GET", target + _escaped(pattern[:50_000]))
            assert 400 <= answer.status < 500, answer

    await siege.withstand(go, blocks={})


@pytest.mark.alone
async def test_thousands_of_calls_in_one_turn_are_not_all_run(siege: Siege) -> None:
    async def go() -> None:
        calls = [ToolCall(f"call-{n}", *valid("grep", path=".")) for n in range(CALLS)]
        answer = await siege.ask(*calls)
        assert answer.status == 200
        assert sum(r["result"]["success"] for r in answer.json()["tool_results"]) <= 32

    await siege.withstand(go, blocks={})


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def _sparse(place: Path, begin: bytes, size: int, end: bytes) -> None:
    place.parent.mkdir(exist_ok=True)
    with place.open("wb") as file:
        file.write(begin)
        file.seek(size - len(end))
        file.write(end)
        file.truncate(size)


def _nested(top: Path, depth: int) -> Path:
    top.mkdir()
    place = top
    for _ in range(depth - 1):
        place /= "d"
        place.mkdir()
    return place
