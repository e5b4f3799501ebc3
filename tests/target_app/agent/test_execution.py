"""One path for every tool call: check, authorise, remember, run."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from target_app.agent.execution import EXECUTION_CODEC, ToolRunner, failure
from target_app.agent.messages import ToolCall, ToolResult
from target_app.agent.tools import CACHE_TYPES
from target_app.cache.memory import Memory
from target_app.cache.results import ResultCache
from target_app.cache.tree import TreeStates
from target_app.sandbox.commands import COMMANDS_VERSION
from target_app.sandbox.inprocess import InProcess
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.result import Command, CommandResult, Execution
from tests.target_app.scripted import HOUR_NS, call

pytestmark = pytest.mark.anyio

ROOMY = Limits(1000, 1000, 30)


class Deaf:
    """Hears nothing of what a cache does."""

    def got(self, *_: Any) -> None: ...

    stored = invalidated = evicted = cleared = saved = got


class Runner:
    """A runner whose caches and commands can be looked into."""

    def __init__(self, root: Path, limits: Limits = ROOMY, **more: Any) -> None:
        wall_clock_ns = more.pop("wall_clock_ns", lambda: time.time_ns() + HOUR_NS)
        self.caches: dict[Any, ResultCache[Execution]] = {
            name: ResultCache(
                name,
                Memory[Execution](100_000),
                None,
                EXECUTION_CODEC,
                listener=Deaf(),
                wall_clock_ns=wall_clock_ns,
            )
            for name in CACHE_TYPES
        }
        self.commands: list[Command] = []
        self.before: Callable[[], object] | None = None
        self.after: Callable[[], Awaitable[None]] | None = None
        data_root = DataRoot(root)
        self._sandbox = InProcess(data_root, limits)
        self.trees = TreeStates(data_root, max_age_seconds=0, **more.pop("trees", {}))
        self.runner = ToolRunner(
            data_root,
            self,
            self.caches,
            self.trees,
            limits=limits,
            **more,
        )

    async def run(self, command: Command) -> Execution:
        self.commands.append(command)
        if self.before is not None:
            self.before()
        execution = await self._sandbox.run(command)
        if self.after is not None:
            await self.after()
        return execution

    async def __call__(self, name: str, **arguments: Any) -> ToolResult:
        return await self.runner.run(call(name, **arguments))


Make = Callable[..., Runner]


@pytest.fixture
def runner(documents: Path) -> Iterator[Make]:
    """Make runners, on the documents unless told otherwise."""
    made: list[Runner] = []

    def make(root: Path = documents, limits: Limits = ROOMY, **more: Any) -> Runner:
        made.append(Runner(root, limits, **more))
        return made[-1]

    yield make
    for one in made:
        one.trees.close()


async def test_a_result_says_everything_about_the_call(runner: Make) -> None:
    asked = call("grep", pattern="beta", path="teams")

    result = await runner().runner.run(asked)

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
        pytest.param("cat", {"path": "readme.md"}, id="cat"),
        pytest.param("head", {"path": "readme.md"}, id="head"),
        pytest.param("tail", {"path": "readme.md"}, id="tail"),
        pytest.param("wc", {"path": "readme.md"}, id="wc"),
        pytest.param("preview", {"path": "readme.md"}, id="preview"),
        pytest.param("smart_read", {"path": "readme.md"}, id="smart_read"),
        pytest.param("ls", {}, id="ls"),
        pytest.param("tree", {}, id="tree"),
        pytest.param("find", {}, id="find"),
        pytest.param("grep", {"pattern": "alpha"}, id="grep in a folder"),
        pytest.param("grep", {"pattern": "alpha", "path": "readme.md"}, id="grep in a file"),
        pytest.param("grep", {"pattern": "nowhere"}, id="no match is remembered too"),
        pytest.param("cat", {"path": "missing"}, id="a missing file is remembered too"),
        pytest.param("cat", {"path": "teams"}, id="so is a folder in place of a file"),
    ],
)
@pytest.mark.parametrize(
    "trees",
    [
        pytest.param({"inotify": True}, id="watched"),
        # Walked at every question, so that the answers are as exact.
        pytest.param({"inotify": False}, id="walked"),
    ],
)
async def test_a_repeated_call_is_answered_from_the_cache(
    runner: Make, name: str, arguments: dict[str, Any], trees: dict[str, Any]
) -> None:
    run = runner(trees=trees)

    first = await run(name, **arguments)
    again = await run(name, **arguments)

    assert (first.cache_hit, again.cache_hit) == (False, True)
    assert (first.result, first.status) == (again.result, again.status)
    assert len(run.commands) == 1


async def test_another_spelling_of_a_path_is_the_same_call(runner: Make) -> None:
    run = runner()
    await run("cat", path="readme.md")

    again = await run("cat", path="./readme.md")

    assert (again.cache_hit, again.result.command) == (True, "cat ./readme.md")


async def test_other_arguments_are_another_call(runner: Make) -> None:
    run = runner()
    await run("head", path="readme.md", lines=1)

    other = await run("head", path="readme.md", lines=2)

    assert (other.cache_hit, other.result.stdout) == (False, "alpha\nbeta")


async def test_a_change_shows_at_once(documents: Path, runner: Make) -> None:
    run = runner()
    await run("grep", pattern="alpha")
    (documents / "teams" / "new.txt").write_text("alpha again\n")

    changed = await run("grep", pattern="alpha", path=".")

    assert changed.cache_hit is False
    assert changed.result.stdout.endswith("teams/new.txt:1:alpha again")


async def test_a_listing_does_not_change_with_what_is_deeper(
    documents: Path, runner: Make
) -> None:
    (documents / "teams" / "green").mkdir()
    run = runner()
    await run("ls")
    (documents / "teams" / "green" / "new.txt").write_text("deeper\n")

    assert (await run("ls")).cache_hit is True


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("cat", {"path": "readme.md"}, id="a file"),
        pytest.param("grep", {"pattern": "beta"}, id="a folder"),
    ],
)
async def test_what_changes_while_it_is_read_is_not_remembered(
    documents: Path, runner: Make, name: str, arguments: dict[str, Any]
) -> None:
    async def write() -> None:
        (documents / "readme.md").write_text("beta, newer\n")

    run = runner()
    run.after = write
    first = await run(name, **arguments)
    second = await run(name, **arguments)

    assert "newer" not in first.result.stdout
    assert "newer" in second.result.stdout
    assert len(run.caches["content"]) + len(run.caches["search"]) == 0


def swap(documents: Path) -> None:
    """Have the folder of the teams and the one of the plans change places."""
    (documents / "teams").rename(documents / "aside")
    (documents / "plans").rename(documents / "teams")
    (documents / "aside").rename(documents / "plans")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("cat", {"path": "teams/old/x.txt"}, id="a file"),
        pytest.param("grep", {"pattern": "of", "path": "teams/old"}, id="a folder with all in it"),
        pytest.param("ls", {"path": "teams/old"}, id="a listing"),
    ],
)
@pytest.mark.parametrize("watched", [True, False], ids=["watched", "walked"])
async def test_what_was_read_elsewhere_is_not_remembered(
    documents: Path, runner: Make, name: str, arguments: dict[str, Any], *, watched: bool
) -> None:
    for folder in ("teams", "plans"):
        (documents / folder / "old").mkdir(parents=True)
        (documents / folder / "old" / "x.txt").write_text(f"of the {folder}\n")
    (documents / "plans" / "old" / "of plans.txt").touch()

    async def swap_back() -> None:
        swap(documents)

    run = runner(trees={"inotify": watched})
    # Each look finds the folders in their places: only the command itself sees the others.
    run.before, run.after = lambda: swap(documents), swap_back
    misled = await run(name, **arguments)
    run.before = run.after = None
    right = await run(name, **arguments)

    assert "plans" in misled.result.stdout
    assert right.cache_hit is False
    assert "plans" not in right.result.stdout


async def test_a_file_that_was_there_only_for_the_command_is_not_remembered(
    documents: Path, runner: Make
) -> None:
    async def remove() -> None:
        (documents / "draft.md").unlink()

    run = runner()
    run.before, run.after = lambda: (documents / "draft.md").write_text("once\n"), remove
    seen = await run("cat", path="draft.md")
    run.before = run.after = None
    gone = await run("cat", path="draft.md")

    assert seen.result.stdout == "once"
    assert (gone.cache_hit, gone.result.error) == (False, "draft.md: no such file or folder")


async def test_what_was_answered_under_other_limits_is_no_answer(runner: Make) -> None:
    before, restarted = runner(limits=Limits(7, 1000, 30)), runner()
    restarted.runner._caches = before.caches
    cut = await before("cat", path="readme.md")

    whole = await restarted("cat", path="readme.md")

    assert (cut.result.stdout, whole.result.stdout) == ("alpha\nb", "alpha\nbeta\ngamma")
    assert (whole.cache_hit, (await restarted("cat", path="readme.md")).cache_hit) == (False, True)


async def test_what_other_commands_answered_is_no_answer(
    runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = runner()
    await before("cat", path="readme.md")
    monkeypatch.setattr("target_app.agent.execution.COMMANDS_VERSION", COMMANDS_VERSION + 1)
    released = runner()
    released.runner._caches = before.caches

    assert (await released("cat", path="readme.md")).cache_hit is False


async def test_files_that_changed_just_now_are_not_remembered(
    documents: Path, runner: Make
) -> None:
    newest = (documents / "readme.md").stat().st_ctime_ns
    run = runner(wall_clock_ns=lambda: newest + 19_999_999)

    await run("cat", path="readme.md")

    assert len(run.caches["content"]) == 0


async def test_calls_at_the_same_time_run_one_command(runner: Make) -> None:
    run = runner()
    # Known already: looking takes some so long that the command is over when they ask.
    run.trees.take(".", deep=True)

    results = await asyncio.gather(*(run("grep", pattern="alpha") for _ in range(5)))

    assert [result.cache_hit for result in results] == [False] * 5
    assert len({result.result for result in results}) == len(run.commands) == 1


async def test_a_folder_too_large_to_be_tracked_is_searched_all_the_same(runner: Make) -> None:
    run = runner(trees={"max_entries": 1})

    first, again = await run("find"), await run("find")

    assert (first.cache_hit, again.cache_hit) == (None, None)
    assert again.result.stdout == "readme.md\nteams\nteams/blue.txt\nteams/red.txt"


async def test_a_path_is_authorised_before_the_cache_is_asked(
    documents: Path, runner: Make
) -> None:
    wide, narrow = runner(documents.parent), runner()
    await wide("cat", path="secret.txt")
    narrow.runner._caches = wide.caches

    stolen = await narrow("cat", path="../secret.txt")

    assert stolen == ToolResult(
        call("cat", path="../secret.txt"),
        failure("cat ../secret.txt", "'..' is not allowed in a path"),
        "error",
        cache_hit=None,
        blocked="path_traversal",
    )


async def test_two_roots_never_answer_for_each_other(documents: Path, runner: Make) -> None:
    wide, narrow = runner(documents.parent), runner()
    narrow.runner._caches = wide.caches
    await wide("cat", path="readme.md")

    there = await narrow("cat", path="readme.md")

    assert (there.cache_hit, there.result.stdout) == (False, "alpha\nbeta\ngamma")


async def test_a_link_put_in_place_of_a_remembered_file_is_refused(
    documents: Path, runner: Make
) -> None:
    run = runner()
    await run("cat", path="readme.md")
    (documents / "readme.md").unlink()
    (documents / "readme.md").symlink_to("../secret.txt")

    result = await run("cat", path="readme.md")

    assert (result.status, result.blocked) == ("error", "path_traversal")


async def test_a_root_that_is_gone_is_said_to_be_and_works_again_when_it_is_back(
    documents: Path, runner: Make
) -> None:
    run = runner()
    await run("find")
    away = documents.rename(documents.parent / "away")  # noqa: ASYNC240

    gone = await run("find")
    away.rename(documents)
    back = await run("find", type="f")

    assert (gone.status, gone.result.error) == ("error", "the folder of documents is gone")
    assert back.result.stdout == "readme.md\nteams/blue.txt\nteams/red.txt"


@pytest.mark.parametrize(
    ("asked", "blocked", "return_code"),
    [
        pytest.param(call("rm", path="."), "command_not_allowed", 2, id="no such tool"),
        pytest.param(call("scan", path="."), "command_not_allowed", 2, id="not for the LLM"),
        pytest.param(call("cat"), None, 2, id="bad arguments"),
        pytest.param(ToolCall("1", "ls", "{"), None, 2, id="broken JSON"),
        pytest.param(call("cat", path="big"), "file_too_large", 1, id="too large"),
        pytest.param(call("ls", path="teams/pipe"), None, 1, id="a pipe"),
    ],
)
async def test_a_refused_call_is_an_answer(
    documents: Path, runner: Make, asked: ToolCall, blocked: str | None, return_code: int
) -> None:
    (documents / "big").write_text("x" * 2000)
    os.mkfifo(documents / "teams" / "pipe")

    result = await runner().runner.run(asked)

    assert (result.status, result.blocked) == ("error", blocked)
    assert (result.result.success, result.result.return_code) == (False, return_code)


@pytest.mark.parametrize("name", [pytest.param("ls", id="ls"), pytest.param("find", id="find")])
async def test_a_call_past_its_deadline_times_out_and_is_not_remembered(
    runner: Make, name: str
) -> None:
    run = runner(limits=Limits(1000, 1000, 0))

    result = await run(name)

    assert (result.status, result.result.error) == ("timeout", "stopped after 0 s")
    assert len(run.caches["search"]) == 0


async def test_a_sandbox_that_does_not_answer_is_not_waited_for(
    runner: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("target_app.agent.execution.GRACE_SECONDS", 0.01)
    run = runner(limits=Limits(1000, 1000, 0))
    run.after = asyncio.Event().wait  # type: ignore[assignment]

    result = await run("ls")

    assert (result.status, result.result.error) == ("timeout", "stopped after 0.01 s")


async def test_output_beyond_the_limit_is_cut_and_said_to_be(runner: Make) -> None:
    result = await runner(limits=Limits(7, 1000, 30))("cat", path="readme.md")

    assert (result.result.stdout, result.result.stderr) == ("alpha\nb", "output cut at 7 bytes")


def test_an_execution_comes_back_from_disk_as_it_went() -> None:
    execution = Execution("success", "täxt\n", "note", seconds=0.25)

    assert EXECUTION_CODEC.decode(EXECUTION_CODEC.encode(execution)) == execution


def test_an_execution_of_another_release_is_no_execution() -> None:
    with pytest.raises(ValueError, match="colour"):
        EXECUTION_CODEC.decode(b'{"status": "success", "colour": "red"}')
