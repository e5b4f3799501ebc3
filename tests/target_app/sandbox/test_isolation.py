"""Every level gives the same answers, and the app is not content with a weaker one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from target_app.sandbox import isolation
from target_app.sandbox.inprocess import InProcess
from target_app.sandbox.isolation import IsolationError, IsolationLevel, Sandbox, make_sandbox
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.pool import WorkerStartError
from target_app.sandbox.result import Command, Execution
from target_app.sandbox.run import run_command
from tests.target_app.sandbox.conftest import ROOMY

pytestmark = pytest.mark.anyio

MEMORY_BYTES = 512 * 1024 * 1024


async def make(documents: Path, level: IsolationLevel | str, **more: Any) -> Sandbox:
    chosen = {"require": IsolationLevel.PATHS, "workers": 1, "memory_bytes": MEMORY_BYTES, **more}
    return await make_sandbox(DataRoot(documents), ROOMY, isolation=level, **chosen)


@pytest.fixture(params=list(IsolationLevel))
async def sandbox(request: pytest.FixtureRequest, documents: Path) -> AsyncIterator[Sandbox]:
    """Make a sandbox of each level; on CI's kernel every one can be had."""
    try:
        made = await make(documents, request.param)
    except IsolationError as error:
        assert os.environ.get("CI") != "true"
        pytest.skip(str(error))
    yield made
    await made.close()


async def test_every_command_says_the_same_at_every_level(
    documents: Path, sandbox: Sandbox
) -> None:
    (documents / "way-out").symlink_to("../secret.txt")
    os.mkfifo(documents / "pipe")
    (documents / "caf\udce9").write_bytes(b"\xe9 alpha\n")
    commands = [
        Command("ls", ".", {"hidden": True, "details": True}),
        Command("find", ".", {"name_pattern": "*.txt", "kind": "f"}),
        Command("find", ".", {"name_pattern": "nothing", "kind": None}),
        Command("tree", ".", {"max_depth": 2}),
        Command("grep", ".", {"pattern": "ALPHA|secret", "regex": True, "ignore_case": True}),
        Command("grep", ".", {"pattern": "(", "regex": True}),
        Command("cat", "teams/blue.txt", {}),
        Command("cat", "way-out", {}),
        Command("cat", "../secret.txt", {}),
        Command("cat", "pipe", {}),
        Command("cat", "a\0b", {}),
        Command("cat", "\ud83d", {}),
        Command("cat", "x" * 5000, {}),
        Command("head", "readme.md", {"lines": 1}),
        Command("tail", "readme.md", {"lines": 1}),
        Command("wc", "readme.md", {"lines_only": False}),
        Command("preview", "readme.md", {"lines": 2}),
        Command("smart_read", "readme.md", {"query": "beta", "max_lines": 5}),
        Command("scan", "readme.md", {"pattern": "t", "offset": 6, "line_number": 2}),
        Command("sed", "readme.md", {}),
        Command("cat", "readme.md", {"unknown": 1}),
    ]

    answers = [await sandbox.run(command) for command in commands]

    root = DataRoot(documents)
    for command, execution in zip(commands, answers, strict=True):
        assert without_seconds(execution) == without_seconds(run_command(root, command, ROOMY))
        assert "the secret" not in repr(execution)
    assert {execution.status for execution in answers} == {"success", "error"}
    assert await sandbox.ready()
    assert sandbox.restarts == 0


def without_seconds(execution: Execution) -> dict[str, Any]:
    fields = {field: getattr(execution, field) for field in Execution.__dataclass_fields__}
    assert fields.pop("seconds") > 0
    # Where it happened is told without the lines of the program: a worker cannot read them.
    return fields | {"fault": bool(execution.fault)}


async def test_commands_at_once_all_come_back(sandbox: Sandbox) -> None:
    command = Command("grep", ".", {"pattern": "alpha"})

    executions = await asyncio.gather(*(sandbox.run(command) for _ in range(10)))

    assert {execution.stdout.count("\n") for execution in executions} == {1}


async def test_searches_in_threads_take_turns(documents: Path) -> None:
    sandbox = InProcess(DataRoot(documents), Limits(1000, 1000, 0.01))
    await sandbox._walking.acquire()

    waited = await sandbox.run(Command("grep", ".", {"pattern": "alpha"}))

    assert (waited.status, waited.error) == ("timeout", "waited 0.01 s for other searches")
    assert (waited.ran, waited.seconds) == (False, 0.0)
    sandbox._walking.release()
    assert (await sandbox.run(Command("grep", ".", {"pattern": "alpha"}))).status == "success"


async def test_auto_is_the_strongest_there_is_and_says_so(
    documents: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    sandbox = await make(documents, "auto")
    await sandbox.close()

    assert sandbox.level.reaches(IsolationLevel.WORKER)
    assert sandbox.level is IsolationLevel.LANDLOCK or os.environ.get("CI") != "true"
    assert caplog.messages[0].startswith(f"isolation of the sandbox: {sandbox.level}")


class Pool(InProcess):
    """Stands in for workers on a kernel without Landlock."""

    level = IsolationLevel.WORKER  # type: ignore[assignment]
    shortfall = "no Landlock here: Function not implemented"
    closed = False

    async def close(self) -> None:
        Pool.closed = True


@pytest.fixture
def old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(root: DataRoot, limits: Limits, **_: object) -> Pool:
        return Pool(root, limits)

    monkeypatch.setattr(Pool, "closed", False)
    monkeypatch.setattr(isolation.WorkerPool, "start", start)


@pytest.mark.usefixtures("old_kernel")
async def test_auto_is_content_with_what_an_old_kernel_has(
    documents: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    sandbox = await make(documents, "auto")

    assert sandbox.level is IsolationLevel.WORKER
    assert caplog.messages == [
        "isolation of the sandbox: worker (no Landlock here: Function not implemented)"
    ]
    assert not Pool.closed


@pytest.mark.usefixtures("old_kernel")
@pytest.mark.parametrize(
    ("asked", "required"),
    [
        pytest.param("auto", IsolationLevel.LANDLOCK, id="required"),
        pytest.param(IsolationLevel.LANDLOCK, IsolationLevel.PATHS, id="asked for by name"),
    ],
)
async def test_less_than_is_needed_is_refused(
    documents: Path, asked: Any, required: IsolationLevel
) -> None:
    with pytest.raises(IsolationError) as refused:
        await make(documents, asked, require=required)

    assert str(refused.value) == (
        "isolation landlock cannot be had, only worker: no Landlock here: Function not implemented"
    )
    assert Pool.closed


async def test_without_processes_auto_is_content_with_paths(
    documents: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def start(*_: object, **__: object) -> None:
        msg = "no sandbox process can be started: no"
        raise WorkerStartError(msg)

    monkeypatch.setattr(isolation.WorkerPool, "start", start)
    caplog.set_level(logging.INFO)

    assert (await make(documents, "auto")).level is IsolationLevel.PATHS
    assert caplog.messages == [
        "isolation of the sandbox: paths (no sandbox process can be started: no)"
    ]
    with pytest.raises(IsolationError, match=r"isolation worker cannot be had, only paths: no s"):
        await make(documents, IsolationLevel.WORKER)


async def test_a_level_asked_for_below_the_required_one_is_refused(documents: Path) -> None:
    with pytest.raises(IsolationError) as refused:
        await make(documents, IsolationLevel.PATHS, require=IsolationLevel.WORKER)

    assert str(refused.value) == (
        "isolation worker cannot be had, only paths: it was not asked for"
    )
