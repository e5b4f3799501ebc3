"""What is counted of commands: each that ran once, for as long as it ran."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from target_app.observability.metrics import Metrics
from target_app.observability.observed import ObservedSandbox
from target_app.sandbox.confine import IsolationLevel
from target_app.sandbox.result import Command, Execution
from target_app.sandbox.run import not_run, timed_out
from tests.target_app.scripted import Start, call

pytestmark = pytest.mark.anyio

CAT = Command("cat", "readme.md", {})
FAULTY = Command("cat", "readme.md", {"no_such_option": True})


@dataclass
class Slow:
    """A sandbox that answers one execution, ten seconds later."""

    execution: Execution
    level = IsolationLevel.PATHS
    restarts = 0
    now: float = 0.0

    async def run(self, command: Command) -> Execution:
        self.now += 10.0
        return self.execution

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        pass


async def observed(execution: Execution, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Run one command, and answer the series that are not zero."""
    metrics = Metrics()
    sandbox = Slow(execution)
    monkeypatch.setattr(time, "perf_counter", lambda: sandbox.now)
    assert await ObservedSandbox(sandbox, metrics).run(CAT) == execution
    return nonzero(metrics.registry)


def nonzero(registry: CollectorRegistry) -> dict[str, float]:
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in registry.collect()
        if family.name.startswith(("sandbox", "errors"))
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_bucket", "_created", "_info"))
    }


async def test_the_time_of_a_command_is_apart_from_its_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await observed(Execution("success", stdout="out", seconds=2.0), monkeypatch) == {
        "sandbox_executions_total cat success": 1.0,
        "sandbox_execution_duration_seconds_count cat": 1.0,
        "sandbox_execution_duration_seconds_sum cat": 2.0,
        "sandbox_wait_seconds_count cat": 1.0,
        "sandbox_wait_seconds_sum cat": 8.0,
        "sandbox_output_size_bytes_count cat": 1.0,
        "sandbox_output_size_bytes_sum cat": 3.0,
    }


async def test_a_command_that_was_stopped_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = await observed(timed_out("stopped after 30 s"), monkeypatch)

    assert counted["sandbox_executions_total cat timeout"] == 1.0
    assert counted["sandbox_timeouts_total cat"] == 1.0
    assert counted["errors_total timeout sandbox"] == 1.0


@pytest.mark.parametrize("status", ["timeout", "error"])
async def test_a_command_that_never_ran_is_not_one_that_did(
    monkeypatch: pytest.MonkeyPatch, status: Any
) -> None:
    assert await observed(not_run(Execution(status)), monkeypatch) == {
        "sandbox_wait_seconds_count cat": 1.0,
        "sandbox_wait_seconds_sum cat": 10.0,
        "errors_total unavailable sandbox": 1.0,
    }


async def test_no_command_takes_longer_than_it_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = await observed(Execution("success", seconds=1e9), monkeypatch)

    assert counted["sandbox_execution_duration_seconds_sum cat"] == 10.0
    assert "sandbox_wait_seconds_sum cat" not in counted


@pytest.mark.parametrize("isolation", ["paths", "worker"])
async def test_a_fault_in_a_command_is_logged_and_counted(
    start: Start, caplog: pytest.LogCaptureFixture, isolation: str
) -> None:
    async with start(isolation=isolation) as app:
        execution = await app.app.state.services.run_command(FAULTY)

        assert await app.series("errors") == {
            "errors_total component=sandbox error_type=internal": 1.0
        }
    assert execution.error == "the command cat failed"
    assert caplog.text.count("the command cat failed") == 1
    assert "sandbox/run.py" in caplog.text
    assert "got an unexpected keyword argument 'no_such_option'" in caplog.text


async def test_callers_who_share_a_stopped_command_are_one_timeout(start: Start) -> None:
    calls = [call("cat", path="readme.md")] * 3
    async with start(calls, "no", command_timeout=1e-9, cache_size_limit=0) as app:
        await app.ask()

        assert await app.series("tool_executions") == {
            "tool_executions_total status=timeout tool_name=cat": 3
        }
        assert await app.series("sandbox_executions") == {
            "sandbox_executions_total command=cat status=timeout": 1
        }
        assert await app.series("sandbox_timeouts") == {"sandbox_timeouts_total command=cat": 1}
        assert await app.series("errors") == {
            "errors_total component=sandbox error_type=timeout": 1
        }
