"""`harness stack`, then Locust as anyone starts it: each load writes a whole run directory."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def stack(workspaces: Any) -> Iterator[tuple[Any, str]]:
    """The embedded stack, kept up; gives its folder and the target's address."""
    workspace = workspaces("stack")
    process = workspace.start("stack")
    words = ""
    for line in process.stdout:
        words += line
        if "Ctrl-C stops it" in line:
            break
    found = re.search(r"locust -f scenarios --headless -u 6 -r 6 -t 20s --host (\S+)", words)
    assert found, words
    yield workspace, found[1]
    os.killpg(process.pid, signal.SIGINT)
    done = workspace.finish(process)
    assert done.code == 0, done.words
    assert not (workspace.path / ".stack/stack.json").exists()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def two_processes() -> tuple[str, ...]:
    """Ask for two load processes, who meet their master where no other Locust does."""
    port = str(free_port())
    return "--processes", "2", "--master-bind-port", port, "--master-port", port


SCENARIOS = {
    p.stem for p in (Path(__file__).parents[2] / "scenarios").glob("*.py") if p.stem[0] != "_"
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_run(workspace: Any, run: Path, processes: int = 1) -> None:
    """Rows, histograms, server and Langfuse must count the same in a run of all scenarios."""
    judged = workspace.run("judge", str(run))
    assert judged.code in {0, 1, 3}, judged.words
    document: dict[str, Any] = json.loads((run / "verdicts.json").read_text())
    (window,) = document["windows"]
    assert (window["name"], window["processes"]) == ("mixed", processes)
    # -t 4s lasts 4 s, however long the imports took.
    assert window["seconds"] >= 3
    folder = run / "windows/mixed"
    rows = lines(folder / "samples.jsonl")
    histograms = lines(folder / "histograms.jsonl")
    total = len(rows)
    assert {r["scenario"] for r in rows} == SCENARIOS
    assert Counter(r["outcome"] for r in rows) == {"ok": total}
    for time_kept in ("response_time", "service_time"):
        assert sum(h["count"] for h in histograms if h["time"] == time_kept) == total
    counts = {a["witness"]: a["requests"] for a in document["accounts"]}
    assert (counts["client"], counts["metrics"]) == (total, total)
    # Documents and refused nonsense leave no trace; of every chat there is the one with its id.
    sent = [r["trace_id"] for r in rows if r.get("traced", True)]
    kept = [
        o["traceId"] for o in lines(folder / "langfuse.jsonl")
        if o["isRootObservation"]
    ]  # fmt: skip
    assert 0 < len(sent) < total
    assert Counter(kept) == Counter(sent) == Counter(set(sent))
    assert json.loads((run / "run.json").read_text())["ended"] is not None
    assert [a for a in document["agreements"] if a["finding"] == "contradiction"] == []


ALL = ("-f", "scenarios", "-u", "12", "-r", "12")


@pytest.mark.parametrize(
    ("more", "processes"),
    [
        pytest.param(tuple, 1, id="one process"),
        pytest.param(two_processes, 2, id="two processes"),
    ],
)
def test_a_headless_locust_writes_a_run(stack: Any, more: Any, processes: int) -> None:
    workspace, host = stack
    before = workspace.runs()
    done = workspace.run(*ALL, "--headless", "-t", "4s", "--host", host, *more(), program="locust")
    assert done.code == 0, done.words
    (run,) = [r for r in workspace.runs() if r not in before]
    assert f"judge it with: harness judge reports/{run.name}" in done.flat
    check_run(workspace, run, processes)


def test_a_master_and_two_workers_write_a_run_where_the_master_is(
    stack: Any, workspaces: Any
) -> None:
    workspace, host = stack
    before = workspace.runs()
    port = str(free_port())
    elsewhere = workspaces("elsewhere")
    workers = [
        elsewhere.start(
            "-f", "scenarios", "--worker", "--master-port", port, program="locust"
        )
        for _ in range(2)
    ]  # fmt: skip
    done = workspace.run(
        *ALL, "--headless", "-t", "4s", "--host", host, "--master", "--expect-workers", "2",
        "--master-bind-host", "127.0.0.1", "--master-bind-port", port, program="locust",
    )  # fmt: skip
    ends = [elsewhere.finish(worker) for worker in workers]
    assert (done.code, [w.code for w in ends]) == (0, [0, 0]), [done.words, *ends]
    (run,) = [r for r in workspace.runs() if r not in before]
    check_run(workspace, run, 2)
    assert elsewhere.runs() == []


def test_every_start_in_the_web_ui_is_a_run_of_its_own(stack: Any) -> None:
    workspace, host = stack
    before = workspace.runs()
    port = free_port()
    process = workspace.start(
        "-f", "scenarios", "--host", host, "--web-host", "127.0.0.1", "--web-port", str(port),
        program="locust",
    )  # fmt: skip
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as ui:
        wait_for(lambda: reachable(ui))
        for number in (1, 2):
            form = {"user_count": 12, "spawn_rate": 12, "host": host}
            assert ui.post("/swarm", data=form).json()["success"] is True
            wait_for(lambda: sending(ui))
            time.sleep(3)  # each of the users has asked something by then
            assert ui.post("/stop").json()["success"] is True
            wait_for(lambda: ui.get("/stats/requests").json()["state"] == "stopped")
            wait_for(lambda n=number: len(ended(workspace, before)) == n)
    process.send_signal(signal.SIGINT)
    done = workspace.finish(process)
    first, second = (r for r in workspace.runs() if r not in before)
    for run in (first, second):
        check_run(workspace, run)
    assert done.code == 0, done.words


def reachable(ui: httpx.Client) -> bool:
    try:
        return ui.get("/").is_success
    except httpx.HTTPError:
        return False


def sending(ui: httpx.Client) -> bool:
    """Whether it is under way: while the target is prepared, there is nothing to stop yet."""
    seen = ui.get("/stats/requests").json()
    return seen["state"] == "running" and seen["total_rps"] > 0


def ended(workspace: Any, before: list[Path]) -> list[Path]:
    fresh = [r for r in workspace.runs() if r not in before]
    return [r for r in fresh if json.loads((r / "run.json").read_text())["ended"] is not None]


def wait_for(happened: Any, seconds: float = 60) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_a_port_in_use_is_refused_in_one_sentence(stack: Any) -> None:
    workspace, host = stack
    port = host.rpartition(":")[2]
    refused = workspace.run("stack", "--port", port)
    assert refused.code == 2
    assert refused.words.splitlines()[-1] == (
        f"harness: port {port} is in use; choose another with --port"
    )
    # The stack that has the port is not disturbed.
    assert httpx.get(f"{host}/health", trust_env=False).is_success
    assert (workspace.path / ".stack/stack.json").exists()


@pytest.mark.parametrize(
    "more", [pytest.param(tuple, id="one process"), pytest.param(two_processes, id="two")]
)
def test_a_target_that_is_not_there_is_named_and_locust_ends(workspace: Any, more: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        refused = workspace.run(
            "-f", "scenarios", "--headless", "-u", "2", "-t", "5s", "--host", url, *more(),
            program="locust",
        )  # fmt: skip
    assert refused.code == 2, refused.words
    assert f"harness: the target {url} cannot be reached" in refused.flat
    assert workspace.runs() == []
