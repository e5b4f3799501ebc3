"""Ctrl-C and SIGTERM in the middle: nothing is left running, and what there is, is reported."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.whole


def read_until(process: Any, pattern: str) -> str:
    """Read what a command says until it says this."""
    words = ""
    for line in process.stdout:
        words += line
        if re.search(pattern, line):
            return words
    raise AssertionError(f"it never said {pattern!r}:\n{words}")


def family(process: Any) -> list[psutil.Process]:
    """All processes that a command has started by now, and theirs."""
    return psutil.Process(process.pid).children(recursive=True)


def left(started: list[psutil.Process]) -> list[str]:
    """Those of them that still run."""
    _, alive = psutil.wait_procs(started, timeout=5)
    names = []
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                names.append(" ".join(process.cmdline()))
    return names


@pytest.mark.parametrize(
    "send",
    [
        pytest.param(lambda p: os.killpg(p.pid, signal.SIGINT), id="Ctrl-C at the terminal"),
        pytest.param(lambda p: p.send_signal(signal.SIGTERM), id="SIGTERM, as CI cancels"),
    ],
)
def test_an_interrupted_benchmark_stops_everything_and_reports_what_it_has(
    workspace: Any, send: Any
) -> None:
    process = workspace.start("benchmark", "max_iterations", "warm_cache", "--duration", "60s")
    read_until(process, "max_iterations: sending")
    started = family(process)
    assert len(started) >= 4, "the LLM, Langfuse, the target and Locust"
    send(process)
    done = workspace.finish(process)
    assert done.code not in {0, -signal.SIGINT, -signal.SIGTERM}, done.words
    assert left(started) == []
    (run,) = workspace.runs()
    assert json.loads((run / "run.json").read_text())["interrupted"] is True
    document = json.loads((run / "verdicts.json").read_text())
    assert document["missing"][0].startswith("the run was interrupted")
    assert "no evidence at all of warm_cache" in document["missing"]
    assert "interrupted" in (run / "report.html").read_text()
    # What was under way was let finish: all witnesses still agree on what there is.
    counts = {a["witness"]: a["requests"] for a in document["accounts"]}
    assert len(set(counts.values())) == 1, counts
    assert not list(workspace.reports.glob(".stack-*"))


def test_an_interrupted_start_leaves_nothing_running(workspace: Any) -> None:
    process = workspace.start("benchmark")
    read_until(process, "starting the embedded stack")
    started = family(process)
    os.killpg(process.pid, signal.SIGINT)
    done = workspace.finish(process)
    assert done.code != 0
    assert left(started) == []
    assert "nothing is left running" in done.flat
    assert workspace.runs() == []


def test_a_stack_whose_supervisor_is_killed_ends_by_itself(workspace: Any) -> None:
    process = workspace.start("stack")
    read_until(process, "Ctrl-C stops it")
    started = family(process)
    assert len(started) == 5, "the LLM, Langfuse, the target and its two sandbox processes"
    process.kill()
    workspace.finish(process)
    assert left(started) == []
