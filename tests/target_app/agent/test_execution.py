"""One path for every tool call: check, authorise, remember, run."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from target_app.agent.execution import Execution, ToolRunner, execute, failure
from target_app.agent.messages import ToolCall, ToolResult
from target_app.agent.tools import Tool
from target_app.cache.results import ResultCache
from target_app.sandbox.commands import Limits, Output
from target_app.sandbox.paths import DataRoot, Opened
from target_app.sandbox.result import CommandResult
from tests.target_app.scripted import HOUR_NS, call

pytestmark = pytest.mark.anyio

ROOMY = Limits(1000, 1000, 30)


class Runner:
    """A runner whose caches can be looked into."""

    def __init__(self, root: Path, limits: Limits = ROOMY, **more: Any) -> None:
        self.caches: dict[Any, ResultCache[Execution]] = {
            "content": ResultCache(100_000),
            "search": ResultCache(100_000),
        }
        more = {"wall_clock_ns": lambda: time.time_ns() + HOUR_NS, **more}
        self.runner = ToolRunner(DataRoot(root), self.caches, limits, **more)

    async def __call__(self, name: str, **arguments: Any) -> ToolResult:
        return await self.runner.run(call(name, **arguments))


async def test_a_result_says_everything_about_the_call(documents: Path) -> None:
    asked = call("grep", pattern="beta", path="teams")

    result = await Runner(documents).runner.run(asked)

    assert result == ToolResult(
        asked,
        CommandResult(
            success=True,
            stdout="teams/red.txt:1:Red ships beta",
            stderr="",
            return_code=0,
            command="grep --pattern=beta teams",
        ),
        "success",
        cache_hit=False,
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("cat", {"path": "readme.md"}, id="content"),
        pytest.param("grep", {"pattern": "alpha"}, id="search"),
        pytest.param("grep", {"pattern": "nowhere"}, id="no match is remembered too"),
        pytest.param("cat", {"path": "missing"}, id="a missing file is remembered too"),
    ],
)
async def test_a_repeated_call_is_answered_from_the_cache(
    documents: Path, name: str, arguments: dict[str, Any]
) -> None:
    run = Runner(documents)

    first = await run(name, **arguments)
    again = await run(name, **arguments)

    assert (first.cache_hit, again.cache_hit) == (False, True)
    assert (first.result, first.status) == (again.result, again.status)


async def test_ls_asks_no_cache(documents: Path) -> None:
    assert (await Runner(documents)("ls")).cache_hit is None


async def test_another_spelling_of_a_path_is_the_same_call(documents: Path) -> None:
    run = Runner(documents)
    await run("cat", path="readme.md")

    again = await run("cat", path="./readme.md")

    assert (again.cache_hit, again.result.command) == (True, "cat ./readme.md")


async def test_other_arguments_are_another_call(documents: Path) -> None:
    run = Runner(documents)
    await run("head", path="readme.md", lines=1)

    other = await run("head", path="readme.md", lines=2)

    assert (other.cache_hit, other.result.stdout) == (False, "alpha\nbeta")


async def test_a_change_shows_at_once(documents: Path) -> None:
    run = Runner(documents)
    await run("grep", pattern="alpha")
    (documents / "teams" / "new.txt").write_text("alpha again\n")

    changed = await run("grep", pattern="alpha", path=".")

    assert changed.cache_hit is False
    assert changed.result.stdout.endswith("teams/new.txt:1:alpha again")


async def test_a_change_during_the_read_is_noticed_afterwards(documents: Path) -> None:
    def execute_late(tool: Tool, opened: Opened, output: Output) -> Execution:
        execution = execute(tool, opened, output)
        (documents / "readme.md").write_text("newer\n")
        return execution

    run = Runner(documents, run_command=execute_late)
    first = await run("cat", path="readme.md")
    second = await run("cat", path="readme.md")

    assert (first.result.stdout, second.result.stdout) == ("alpha\nbeta\ngamma", "newer")
    assert second.cache_hit is False


async def test_files_that_changed_just_now_are_not_remembered(documents: Path) -> None:
    newest = (documents / "readme.md").stat().st_ctime_ns
    run = Runner(documents, wall_clock_ns=lambda: newest + 19_999_999)

    await run("cat", path="readme.md")

    assert len(run.caches["content"]) == 0


async def test_a_path_is_authorised_before_the_cache_is_asked(documents: Path) -> None:
    wide = Runner(documents.parent)
    await wide("cat", path="secret.txt")
    narrow = Runner(documents)
    narrow.runner._caches = wide.caches

    stolen = await narrow("cat", path="../secret.txt")

    assert stolen == ToolResult(
        call("cat", path="../secret.txt"),
        failure("cat ../secret.txt", "'..' is not allowed in a path"),
        "error",
        cache_hit=None,
        blocked="path_traversal",
    )


async def test_a_link_put_in_place_of_a_remembered_file_is_refused(documents: Path) -> None:
    run = Runner(documents)
    await run("cat", path="readme.md")
    (documents / "readme.md").unlink()
    (documents / "readme.md").symlink_to("../secret.txt")

    result = await run("cat", path="readme.md")

    assert (result.status, result.blocked) == ("error", "path_traversal")


@pytest.mark.parametrize(
    ("asked", "blocked", "return_code"),
    [
        pytest.param(call("rm", path="."), "command_not_allowed", 2, id="no such tool"),
        pytest.param(call("cat"), None, 2, id="bad arguments"),
        pytest.param(ToolCall("1", "ls", "{"), None, 2, id="broken JSON"),
        pytest.param(call("cat", path="big"), "file_too_large", 1, id="too large"),
        pytest.param(call("ls", path="teams/pipe"), None, 1, id="a pipe"),
    ],
)
async def test_a_refused_call_is_an_answer(
    documents: Path, asked: ToolCall, blocked: str | None, return_code: int
) -> None:
    (documents / "big").write_text("x" * 2000)
    os.mkfifo(documents / "teams" / "pipe")

    result = await Runner(documents).runner.run(asked)

    assert (result.status, result.blocked) == ("error", blocked)
    assert (result.result.success, result.result.return_code) == (False, return_code)


@pytest.mark.parametrize("name", [pytest.param("ls", id="ls"), pytest.param("find", id="find")])
async def test_a_call_past_its_deadline_times_out_and_is_not_remembered(
    documents: Path, name: str
) -> None:
    run = Runner(documents, Limits(1000, 1000, 0))

    result = await run(name)

    assert (result.status, result.result.error) == ("timeout", "stopped after 0 s")
    assert len(run.caches["search"]) == 0


async def test_output_beyond_the_limit_is_cut_and_said_to_be(documents: Path) -> None:
    result = await Runner(documents, Limits(7, 1000, 30))("cat", path="readme.md")

    assert (result.result.stdout, result.result.stderr) == ("alpha\nb", "output cut at 7 bytes")


async def test_a_search_does_not_wait_for_ever_for_another(documents: Path) -> None:
    run = Runner(documents, Limits(1000, 1000, 0.01))
    with run.runner._searching:
        result = await run("find")

    assert (result.status, result.result.error) == (
        "timeout",
        "waited 0.01 s for other searches",
    )
