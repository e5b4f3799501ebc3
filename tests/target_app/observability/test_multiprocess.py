"""Where several workers count together: a directory of theirs, fresh, private, without the dead."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from target_app.observability import multiprocess
from target_app.observability.metrics import workers
from target_app.observability.multiprocess import (
    VARIABLE,
    forget_dead,
    join_workers,
    live_workers,
    shared_by_workers,
)

COUNT = """
import sys
from prometheus_client import generate_latest
from target_app.observability.metrics import Metrics

class Store:
    size_bytes = 500
    def __len__(self):
        return 5

metrics = Metrics()
metrics.app_info.info({"version": "1"})
metrics.llm_calls.labels("success").inc(int(sys.argv[1]))
metrics.llm_call_duration.observe(0.3, {"trace_id": "t"})
metrics.watch_sessions(range(int(sys.argv[2])))
metrics.watch_caches([("disk", Store()), ("content", Store())])
metrics.watch(metrics.cache_max_staleness, lambda: float(sys.argv[2]))
sys.stdout.write(generate_latest(metrics.exposed).decode() + "# EOF\\n")
sys.stdout.flush()
sys.stdin.read()
"""
"""Counts so many calls and holds so many sessions, shows the page, and stays until told to end."""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # Set, so that what the test leaves there is taken away after it.
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    return tmp_path / f"target-app-metrics-{os.getuid()}"


@pytest.fixture
def is_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocess.multiprocessing, "parent_process", object)


def parents_began() -> str:
    return Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19]


def test_a_process_on_its_own_counts_for_itself(temporary: Path) -> None:
    join_workers()

    assert VARIABLE not in os.environ
    assert not temporary.exists()
    assert workers.directory_of_workers() is None


@pytest.mark.usefixtures("is_worker")
def test_workers_of_one_parent_meet_in_a_directory_that_is_theirs(temporary: Path) -> None:
    join_workers()
    directory = Path(os.environ.pop(VARIABLE))
    (directory / "counter_1.db").touch()
    join_workers()

    assert directory == temporary / f"{os.getppid()}-{parents_began()}"
    assert os.environ[VARIABLE] == str(directory)
    assert (directory / "counter_1.db").exists(), "what a sibling counts stays"
    assert [path.stat().st_mode & 0o777 for path in (temporary, directory)] == [0o700, 0o700]


@pytest.mark.usefixtures("is_worker")
def test_what_servers_left_behind_goes(temporary: Path) -> None:
    temporary.mkdir(mode=0o700)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    alive = multiprocess._began(os.getpid())
    left = [temporary / f"{ended.pid}-1", temporary / f"{os.getpid()}-1"]
    kept = [temporary / f"{os.getpid()}-{alive}", temporary / "not-ours"]
    for directory in (*left, *kept):
        directory.mkdir()
        (directory / "counter_1.db").touch()

    join_workers()

    assert [directory.exists() for directory in left] == [False, False]
    assert [directory.exists() for directory in kept] == [True, True]


@pytest.mark.usefixtures("is_worker")
@pytest.mark.parametrize("how", ["open to all", "a link elsewhere"])
def test_a_directory_that_others_could_write_to_is_refused(temporary: Path, how: str) -> None:
    if how == "open to all":
        temporary.mkdir()
        temporary.chmod(0o777)
    else:
        elsewhere = temporary.with_name("elsewhere")
        elsewhere.mkdir(mode=0o700)
        temporary.symlink_to(elsewhere)

    with pytest.raises(PermissionError, match=VARIABLE):
        join_workers()

    assert VARIABLE not in os.environ


@pytest.mark.usefixtures("is_worker")
def test_a_directory_of_the_operators_is_used_but_for_gauges_of_this_number(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "chosen"))
    (tmp_path / "chosen").mkdir()
    files = [f"counter_{os.getpid()}.db", f"gauge_livesum_{os.getpid()}.db", "gauge_livesum_1.db"]
    for name in files:
        (tmp_path / "chosen" / name).touch()

    join_workers()

    assert os.environ[VARIABLE] == str(tmp_path / "chosen")
    assert {file.name for file in (tmp_path / "chosen").iterdir()} == {files[0], files[2]}
    assert not temporary.exists()


def test_a_server_makes_a_directory_and_takes_it_away(temporary: Path) -> None:
    with shared_by_workers():
        directory = Path(os.environ[VARIABLE])
        assert directory.parent == temporary
        assert list(directory.iterdir()) == []
        (directory / "counter_1.db").touch()

    assert not directory.exists()
    assert VARIABLE not in os.environ


def test_a_server_empties_the_operators_directory_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tmp_path / "made" / "chosen"
    monkeypatch.setenv(VARIABLE, str(chosen))
    with shared_by_workers():
        (chosen / "counter_1.db").touch()
        (chosen / "gauge_livesum_1.db").touch()
        (chosen / "of somebody else.txt").touch()
    with shared_by_workers():
        assert [file.name for file in chosen.iterdir()] == ["of somebody else.txt"]


def test_gauges_of_processes_that_ended_go_and_their_counts_stay(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    # The first process of the system runs, but is no sibling.
    for pid in (os.getpid(), ended.pid, 1):
        for kind in ("gauge_livesum", "gauge_livemax", "counter"):
            (tmp_path / f"{kind}_{pid}.db").touch()

    live = live_workers(tmp_path)
    forget_dead(tmp_path, live)

    assert [process.pid for process in live] == [os.getpid()]
    assert {file.stem for file in tmp_path.iterdir()} == {
        *(f"{kind}_{os.getpid()}" for kind in ("gauge_livesum", "gauge_livemax", "counter")),
        f"counter_{ended.pid}",
        "counter_1",
    }


def test_the_page_of_one_tells_of_all_and_of_what_they_share_once(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], VARIABLE: str(tmp_path), "PYTHONPATH": "."}
    started: list[subprocess.Popen[str]] = []

    def worker(calls: int, sessions: int) -> dict[str, float]:
        process = subprocess.Popen(
            [sys.executable, "-c", COUNT, str(calls), str(sessions)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout is not None
        page = "".join(iter(process.stdout.readline, "# EOF\n"))
        return {
            sample.name + "".join(sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def end(process: subprocess.Popen[str]) -> None:
        process.communicate("")

    try:
        worker(calls=3, sessions=10)
        page = worker(calls=4, sessions=5)
        end(started[0])
        later = worker(calls=0, sessions=1)
    finally:
        for process in started:
            if process.returncode is None:
                end(process)

    def told(page: dict[str, float]) -> dict[str, Any]:
        return {
            "calls": page["llm_calls_totalsuccess"],
            "failed calls": page["llm_calls_totalerror"],
            "durations": page["llm_call_duration_seconds_count"],
            "sessions": page["active_sessions_total"],
            "disk": (page["cache_size_bytesdisk"], page["cache_entries_totaldisk"]),
            "memory": (page["cache_size_bytescontent"], page["cache_entries_totalcontent"]),
            "staleness": page["cache_max_staleness_seconds"],
            "info": page["app_info1"],
        }

    shared = {"failed calls": 0, "disk": (500, 5), "memory": (1000, 10), "info": 1}
    assert told(page) == {
        **shared, "calls": 7, "durations": 2, "sessions": 15, "staleness": 10
    }  # fmt: skip
    assert told(later) == {
        **shared, "calls": 7, "durations": 3, "sessions": 6, "staleness": 5
    }  # fmt: skip
    assert page["process_start_time_seconds"] == psutil.Process().create_time()
    assert page["process_open_fds"] > later["process_open_fds"] / 2
    assert not any(name.endswith("_created") for name in page)
