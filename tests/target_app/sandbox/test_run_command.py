"""From a command to its execution: every way it can fail is an answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from target_app.sandbox import run as running
from target_app.sandbox.commands import COMMANDS
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.result import Command, Execution
from tests.target_app.sandbox.conftest import ROOMY, Run


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        pytest.param(
            "sed", "readme.md",
            Execution("error", error="there is no command sed", return_code=1,
                      blocked="command_not_allowed", lasting=False),
            id="a command that is not there",
        ),
        pytest.param(
            "cat", "../secret.txt",
            Execution("error", error="'..' is not allowed in a path", return_code=1,
                      blocked="path_traversal", lasting=False),
            id="a path that leads out",
        ),
        pytest.param(
            "cat", "latest.md",
            Execution("error", error="latest.md is a symbolic link; links are not followed",
                      return_code=1, lasting=False),
            id="a link",
        ),
        pytest.param(
            "cat", "missing.md",
            Execution("error", error="missing.md: no such file or folder", return_code=1,
                      opened="absent"),
            id="a missing file lasts until one is there",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_done(
    documents: Path, run: Run, name: str, path: str, expected: Execution
) -> None:
    (documents / "latest.md").symlink_to("readme.md")

    execution = run(name, path)

    assert execution.seconds > 0
    assert execution == Execution(**{**as_dict(expected), "seconds": execution.seconds})


def as_dict(execution: Execution) -> dict[str, Any]:
    return {field: getattr(execution, field) for field in Execution.__dataclass_fields__}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(
            PermissionError(13, "Permission denied", "/host/path"),
            "teams/blue.txt: Permission denied", id="the system refuses",
        ),
        pytest.param(OSError("odd"), "teams/blue.txt: cannot be read", id="an error unnamed"),
        pytest.param(
            MemoryError(), "the command needs more memory than it may use", id="out of memory"
        ),
        pytest.param(ZeroDivisionError("/host/path"), "the command cat failed", id="a fault of ours"),
    ],
)  # fmt: skip
def test_a_fault_is_an_answer_that_shows_nothing_of_the_host(
    run: Run, monkeypatch: pytest.MonkeyPatch, fault: Exception, reason: str
) -> None:
    def broken(*_: object) -> None:
        raise fault

    monkeypatch.setattr(running, "COMMANDS", MappingProxyType({"cat": broken}))

    execution = run("cat", "teams/blue.txt")

    assert (execution.status, execution.error, execution.lasting) == ("error", reason, False)
    # Only a fault of ours is for the log, and nothing but the log.
    is_ours = isinstance(fault, ZeroDivisionError)
    assert execution.fault.endswith("ZeroDivisionError: /host/path\n" if is_ours else "")
    assert bool(execution.fault) is is_ours


def test_what_is_told_of_a_fault_is_bounded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def descend(*_: object) -> None:
        raise ZeroDivisionError("x" * 1_000_000)

    monkeypatch.setattr(running, "COMMANDS", MappingProxyType({"cat": descend}))

    fault = run("cat", "readme.md").fault

    assert len(fault) <= running.FAULT_CHARACTERS
    assert fault.startswith("Traceback")
    assert "in descend" in fault


def test_an_execution_says_what_was_opened(documents: Path, run: Run) -> None:
    (documents / "readme.md").write_text("changed\n")
    with DataRoot(documents).open("readme.md") as opened:
        stamp = opened.stamp

    assert run("cat", "readme.md").opened == stamp
    assert run("tree", "readme.md").opened == stamp
    assert run("cat", "../secret.txt").opened == ""


def test_options_that_do_not_fit_are_a_failure(run: Run) -> None:
    assert run("cat", "readme.md", mode="range").error == "the command cat failed"


def test_a_root_that_is_gone_is_named(documents: Path) -> None:
    root = DataRoot(documents)
    shutil.rmtree(documents)

    execution = running.run_command(root, Command("ls", ".", {}), ROOMY)

    assert (execution.error, execution.lasting) == ("the folder of documents is gone", False)


def test_there_is_a_command_for_every_tool() -> None:
    assert set(COMMANDS) == {
        "ls", "find", "grep", "cat", "head", "tail", "tree", "wc", "preview", "smart_read", "scan",
    }  # fmt: skip
