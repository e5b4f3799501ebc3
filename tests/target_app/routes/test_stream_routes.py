"""The stream routes: a file bit by bit, or a search of it, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from target_app.routes import streams
from target_app.sandbox.inprocess import InProcess
from target_app.sandbox.result import Command, Execution
from tests.target_app.scripted import RunningApp, Start

pytestmark = pytest.mark.anyio

Events = list[tuple[str, dict[str, Any]]]


async def events(app: RunningApp, path: str, **params: Any) -> Events:
    answer = await app.client.get(f"/api/stream/{path}", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/event-stream; charset=utf-8",
    )
    heard = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        heard.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return heard


def said(heard: Events, name: str) -> list[dict[str, Any]]:
    return [data for event, data in heard if event == name]


async def test_a_small_file_comes_in_one_chunk(start: Start) -> None:
    async with start() as app:
        heard = await events(app, "file/readme.md")

    assert heard == [
        ("chunk", {"content": "alpha\nbeta\ngamma\n"}),
        ("progress", {"percent": 100, "bytes_read": 17}),
        ("done", {"total_bytes": 17}),
    ]


async def test_an_empty_file_is_done_at_once(start: Start, documents: Path) -> None:
    (documents / "empty").touch()
    async with start() as app:
        assert await events(app, "file/empty") == [("done", {"total_bytes": 0})]
        assert await events(app, "search/empty", pattern="x") == [
            ("progress", {"percent": 100, "bytes_read": 0, "lines_processed": 0}),
            ("done", {"matches_found": 0, "lines_processed": 0, "total_size": 0}),
        ]


@pytest.mark.parametrize("size", [1024, 1025, 1026, 1027])
async def test_no_character_is_cut_in_two(start: Start, documents: Path, size: int) -> None:
    text = "aé漢😀" * 1000
    (documents / "long").write_text(text)
    async with start() as app:
        heard = await events(app, "file/long", chunk_size=size)

    chunks = [data["content"] for data in said(heard, "chunk")]
    assert "".join(chunks) == text
    assert len(chunks) == -(-10_000 // size)
    assert said(heard, "done") == [{"total_bytes": 10_000}]


async def test_what_is_no_text_is_replaced_in_a_stream(start: Start, documents: Path) -> None:
    (documents / "data").write_bytes(b"a\xffb\xe6\xbc")
    async with start() as app:
        heard = await events(app, "file/data")

    assert "".join(data["content"] for data in said(heard, "chunk")) == "a\ufffdb\ufffd"


async def test_a_file_above_the_limit_of_documents_can_be_streamed(
    start: Start, documents: Path
) -> None:
    (documents / "large").write_bytes(b"x" * 500_000)
    async with start(max_file_size=1000) as app:
        heard = await events(app, "file/large", chunk_size=100_000)

    percents = [data["percent"] for data in said(heard, "progress")]
    assert percents == [20, 40, 60, 80, 100]
    assert said(heard, "done") == [{"total_bytes": 500_000}]


async def test_a_query_is_looked_for_as_it_is_written(start: Start, documents: Path) -> None:
    (documents / "code.py").write_text("f(x)\nfx\n\u2028 f(x) é f(x)\n")
    async with start() as app:
        heard = await events(app, "file/code.py", query="f(x)")

    assert said(heard, "match") == [
        {"line_number": 1, "line_content": "f(x)", "match_start": 0, "match_end": 4},
        {
            "line_number": 3,
            "line_content": "\u2028 f(x) é f(x)",
            "match_start": 2,
            "match_end": 6,
        },
    ]
    assert said(heard, "done") == [{"total_bytes": 25, "matches_found": 2}]


async def test_a_search_takes_a_regular_expression(start: Start) -> None:
    async with start() as app:
        heard = await events(app, "search/readme.md", pattern="^[ab].*a$")
        loud = await events(app, "search/readme.md", pattern="ALPHA", ignore_case=True)

    assert heard == [
        ("match", {"line_number": 1, "line_content": "alpha", "match_start": 0, "match_end": 5}),
        ("match", {"line_number": 2, "line_content": "beta", "match_start": 0, "match_end": 4}),
        ("progress", {"percent": 100, "bytes_read": 17, "lines_processed": 3}),
        ("done", {"matches_found": 2, "lines_processed": 3, "total_size": 17}),
    ]
    assert len(said(loud, "match")) == 1


async def test_a_search_goes_step_by_step_through_a_large_file(
    start: Start, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STEP_BYTES", 100_000)
    lines = [f"{'needle' if number % 1000 == 0 else '':>99}\n" for number in range(10_000)]
    (documents / "large").write_text("".join(lines))
    async with start() as app:
        heard = await events(app, "search/large", pattern="needle")
        commands = await app.series("sandbox_executions")

    assert [data["line_number"] for data in said(heard, "match")] == list(range(1, 10_001, 1000))
    assert said(heard, "done") == [
        {"matches_found": 10, "lines_processed": 10_000, "total_size": 1_000_000}
    ]
    percents = [data["percent"] for data in said(heard, "progress")]
    assert percents == sorted(set(percents))
    assert percents[-1] == 100
    assert commands["sandbox_executions_total command=scan status=success"] == len(percents) > 1


async def test_searches_share_the_limit_of_tools(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[Command] = []
    most = 0
    run = InProcess.run

    async def watched(self: InProcess, command: Command) -> Execution:
        nonlocal most
        running.append(command)
        most = max(most, len(running))
        try:
            return await run(self, command)
        finally:
            running.remove(command)

    monkeypatch.setattr(InProcess, "run", watched)
    async with start(max_concurrent_tools=1) as app:
        heard = await asyncio.gather(
            *(events(app, "search/readme.md", pattern=f"a{number}?") for number in range(4))
        )

    assert [len(said(one, "done")) for one in heard] == [1] * 4
    assert most == 1


async def test_a_search_stops_at_its_limit_and_says_so(start: Start, documents: Path) -> None:
    (documents / "many").write_text("x\n" * 1000)
    async with start() as app:
        heard = await events(app, "search/many", pattern="x", max_matches=150)

    assert [data["line_number"] for data in said(heard, "match")] == list(range(1, 151))
    assert said(heard, "info") == [{"message": "stopped after 150 matches; there may be more"}]
    assert said(heard, "done") == [
        {"matches_found": 150, "lines_processed": 150, "total_size": 2000}
    ]


async def test_a_pattern_that_would_freeze_other_engines_is_answered(
    start: Start, documents: Path
) -> None:
    (documents / "trap").write_text("a" * 100_000 + "!\n")
    async with start() as app:
        heard = await events(app, "search/trap", pattern="(a+)+$")

    assert said(heard, "done") == [
        {"matches_found": 0, "lines_processed": 1, "total_size": 100_002}
    ]


@pytest.mark.parametrize(
    ("path", "pattern", "kind", "reason"),
    [
        pytest.param("readme.md", "(", "SEARCH_FAILED", "missing )", id="a bad pattern"),
        pytest.param("binary", "x", "SEARCH_FAILED", "binary", id="a binary file"),
    ],
)
async def test_a_search_that_cannot_be_done_is_an_event(
    start: Start, documents: Path, path: str, pattern: str, kind: str, reason: str
) -> None:
    (documents / "binary").write_bytes(b"\0\1\2")
    async with start() as app:
        ((name, data),) = await events(app, f"search/{path}", pattern=pattern)

    assert (name, data["type"]) == ("error", kind)
    assert reason in data["message"]


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(1, id="no room for anything"),
        pytest.param(76, id="room for the match and not for the end"),
        pytest.param(100, id="room for a part of the end"),
    ],
)
async def test_a_search_whose_output_has_no_room_is_an_event(start: Start, limit: int) -> None:
    async with start(max_output_size=limit) as app:
        ((name, data),) = await events(app, "search/readme.md", pattern="beta")

    assert (name, data["type"]) == ("error", "SEARCH_FAILED")
    assert data["message"] == (
        f"what was found does not fit into the limit of output, {limit} bytes"
    )


async def test_a_search_that_takes_too_long_is_an_event_and_counted(start: Start) -> None:
    async with start(command_timeout=1e-9) as app:
        ((name, data),) = await events(app, "search/readme.md", pattern="x")

        assert (name, data["type"]) == ("error", "TIMEOUT")
        assert await app.series("sandbox_timeouts") == {"sandbox_timeouts_total command=scan": 1}
        assert await app.series("errors_total") == {
            "errors_total component=sandbox error_type=timeout": 1
        }


@pytest.mark.parametrize("path", ["file/large", "search/large"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda file: file.write_text("y\n" * 100_000), id="it is written"),
        pytest.param(lambda file: file.unlink(), id="it is deleted"),
        pytest.param(
            lambda file: (file.unlink(), file.symlink_to("../secret.txt")), id="it becomes a link"
        ),
    ],
)
async def test_a_file_that_changes_meanwhile_ends_its_stream(
    start: Start,
    documents: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    change: Callable[[Path], object],
) -> None:
    monkeypatch.setattr(streams, "STEP_BYTES", 10_000)
    file = documents / "large"
    file.write_text("x\n" * 100_000)
    tell = streams.Progress.tell

    async def tell_and_change(self: Any, offset: int, **more: int) -> None:
        change(file)
        await tell(self, offset, **more)

    monkeypatch.setattr(streams.Progress, "tell", tell_and_change)
    async with start() as app:
        heard = await events(app, path, **({"pattern": "z"} if "search" in path else {}))

    assert heard[-1] == (
        "error",
        {"message": "the file changed while it was read; begin again", "type": "FILE_CHANGED"},
    )
    assert said(heard, "done") == []
    assert "secret" not in str(heard)


async def test_what_a_search_does_not_show_is_said(start: Start, documents: Path) -> None:
    (documents / "wide").write_text("x" * 5000 + "\n")
    async with start() as app:
        heard = await events(app, "search/wide", pattern="x")

    assert len(said(heard, "match")[0]["line_content"]) == 2000
    assert said(heard, "info") == [{"message": "lines above 2000 bytes cut"}]


@pytest.mark.parametrize(
    ("path", "params", "fault"),
    [
        pytest.param("search/readme.md", {}, "query.pattern", id="no pattern"),
        pytest.param("search/readme.md", {"pattern": ""}, "query.pattern", id="an empty pattern"),
        pytest.param(
            "search/readme.md", {"pattern": "x" * 501}, "query.pattern", id="a long pattern"
        ),
        pytest.param(
            "search/readme.md",
            {"pattern": "x", "max_matches": 1001},
            "query.max_matches",
            id="too many matches",
        ),
        pytest.param(
            "file/readme.md", {"chunk_size": 1023}, "query.chunk_size", id="a small chunk"
        ),
        pytest.param(
            "file/readme.md", {"chunk_size": 1_048_577}, "query.chunk_size", id="a large chunk"
        ),
    ],
)
async def test_a_stream_that_is_asked_for_wrongly(
    start: Start, path: str, params: dict[str, Any], fault: str
) -> None:
    async with start() as app:
        answer = await app.client.get(f"/api/stream/{path}", params=params)

    assert answer.status_code == 422
    assert list(answer.json()["details"]) == [fault]
