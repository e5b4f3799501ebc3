"""
Master, workers and target on machines of their own, as far as they can tell.

Each has its own network namespace with its own address, joined by a switch, and its own working
directory: a worker has the scenarios and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.load.arrivals import Poisson
from harness.load.plan import Schedule

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MAY = os.geteuid() == 0 and shutil.which("ip") is not None
pytestmark = [
    pytest.mark.whole,
    pytest.mark.skipif(
        not MAY and not os.environ.get("CI"), reason="network namespaces need root and iproute2"
    ),
]

# RFC 5737: addresses that belong to nobody.
ADDRESSES = {
    "target": "192.0.2.1",
    "master": "192.0.2.2",
    "worker-1": "192.0.2.11",
    "worker-2": "192.0.2.12",
}
OFFERED = Poisson(rate=40, duration="5s", warmup="1s")


def schedule(seconds: float) -> list[float]:
    """All arrivals of a window of this length: what one process alone would send."""
    whole = Schedule("measure", {"Offered": OFFERED}, {"Offered": seconds})
    return [offset for offset, _ in whole]


OWN = (
    "--scenarios",
    "scenarios",
    "--slo",
    "slo.yaml",
    "--host",
    f"http://{ADDRESSES['target']}:8000",
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture(scope="module")
def network() -> Iterator[Mapping[str, str]]:
    """Namespaces by name, one for each address, joined by a switch in one more."""
    assert MAY, (
        "CI must run as root with iproute2: the tests of distributed load would be left out"
    )
    own = f"harness-{os.getpid()}"
    spaces = {name: f"{own}-{name}" for name in ADDRESSES}
    with contextlib.ExitStack() as made:

        def add(space: str) -> None:
            ip("netns", "add", space)
            made.callback(ip, "netns", "delete", space)

        add(own)
        ip("-n", own, "link", "add", "switch", "type", "bridge")
        ip("-n", own, "link", "set", "switch", "up")
        for number, (name, address) in enumerate(ADDRESSES.items()):
            add(spaces[name])
            # Both ends are born where they belong: this machine's own network is left alone.
            ip("-n", own, "link", "add", f"port{number}", "type", "veth",
               "peer", "name", "eth0", "netns", spaces[name])  # fmt: skip
            ip("-n", own, "link", "set", f"port{number}", "master", "switch", "up")
            ip("-n", spaces[name], "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", spaces[name], "link", "set", "eth0", "up")
            ip("-n", spaces[name], "link", "set", "lo", "up")
        yield spaces


def within(space: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", space)


class Apart:
    """A master, and places for workers, of one test; a target that counts what comes from where."""

    def __init__(self, spaces: Mapping[str, str], folders: Callable[[str], Any]) -> None:
        self.spaces, self.folders = spaces, folders
        self.master = self.place("master", with_files=True)
        self.target = subprocess.Popen(
            [*within(spaces["target"]), sys.executable, str(HERE / "known_target.py"),
             json.dumps({"address": ADDRESSES["target"], "port": 8000})],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.target.stdout is not None
        self.url = self.target.stdout.readline().strip()
        self.loops: dict[str, subprocess.Popen[bytes]] = {}

    def place(self, name: str, *, with_files: bool) -> Any:
        """A working directory with what that machine needs, and commands that run there."""
        made = self.folders(name)
        for path in ("scenarios", "slo.yaml", "prices.yaml"):
            (made.path / path).unlink()
        shutil.copytree(HERE / "apart", made.path / "scenarios")
        if with_files:
            shutil.copy(HERE / "failures/slo.yaml", made.path)
            shutil.copy(ROOT / "prices.yaml", made.path)
        made.within = within(self.spaces[name])
        return made

    def work(self, name: str, added: str = "") -> None:
        """Start the loop that deploy/ starts, on one of the workers' machines."""
        place = self.place(name, with_files=False)
        with (place.path / "scenarios/offered.py").open("a") as scenario:
            scenario.write(added)
        with (place.path / "worker.log").open("wb") as log:
            self.loops[name] = subprocess.Popen(
                [*place.within, "sh", str(ROOT / "deploy/worker.sh"),
                 "--master-host", ADDRESSES["master"], "--master-port", "5557"],
                cwd=place.path,
                env={
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                    "PYTHONPATH": str(ROOT),
                },
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.logs = getattr(self, "logs", {}) | {name: place.path / "worker.log"}

    def locust_of(self, name: str) -> psutil.Process:
        """The load process that runs there now."""
        (found,) = [
            p for p in psutil.Process(self.loops[name].pid).children()
            if any(word.endswith("locust") for word in p.cmdline())
        ]  # fmt: skip
        return found

    def asked(self) -> list[tuple[str, str]]:
        """Who asked the target, and under which trace id; read from within its network."""
        done = subprocess.run(
            [*within(self.spaces["target"]), sys.executable, "-c",
             "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())",
             f"{self.url}/truth"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [(peer, trace) for peer, trace in json.loads(done.stdout)["asked"]]

    def close(self) -> None:
        for loop in self.loops.values():
            loop.terminate()
            loop.wait(30)
        self.target.kill()
        self.target.communicate()


@pytest.fixture
def apart(network: Mapping[str, str], workspaces: Any) -> Iterator[Apart]:
    with contextlib.closing(Apart(network, workspaces)) as made:
        yield made


def start(apart: Apart, duration: str) -> Any:
    return apart.master.start(
        "run", "offered", *OWN, "--duration", duration, "--expect-workers", "2",
        "--master-bind-host", "0.0.0.0", "--master-bind-port", "5557",
    )  # fmt: skip


class Seen:
    """What a finished run holds."""

    def __init__(self, apart: Apart, process: Any) -> None:
        self.done = apart.master.finish(process)
        self.judged = apart.master.run("judge", "reports/latest")
        (path,) = apart.master.runs()
        folder = path / "windows/offered"
        rows = (folder / "samples.jsonl").read_text().splitlines()
        self.rows = sorted(map(json.loads, rows), key=lambda r: float(r["intended_start"]))
        self.histograms = [
            json.loads(line) for line in (folder / "histograms.jsonl").read_text().splitlines()
        ]
        self.window = json.loads((folder / "window.json").read_text())
        self.missing = " ".join(json.loads((path / "verdicts.json").read_text())["missing"])
        self.asked = {trace: peer for peer, trace in apart.asked()}
        logs = [*(path / "logs").iterdir(), *apart.logs.values()]
        assert [p.name for p in logs if "Traceback" in p.read_text()] == []

    @property
    def counted(self) -> int:
        return sum(h["count"] for h in self.histograms if h["time"] == "response_time")

    def by_worker(self) -> dict[str, list[float]]:
        """Intended starts of the samples, by the address that the target saw them come from."""
        found = defaultdict(list)
        for row in self.rows:
            found[self.asked[row["trace_id"]]].append(row["intended_start"])
        return found


def wait_for(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def slot_of(starts: list[float], whole: list[float]) -> int:
    """Which of the two slots of the schedule these intended starts are, to the microsecond."""
    for slot in (0, 1):
        due = whole[slot::2]
        if len(due) == len(starts):
            shifts = [s - d for s, d in zip(starts, due, strict=True)]
            if max(shifts) - min(shifts) < 2e-6:
                return slot
    raise AssertionError("it is neither slot of the schedule")


def test_two_workers_send_exactly_the_offered_arrivals(apart: Apart) -> None:
    apart.work("worker-1")
    apart.work("worker-2")
    seen = Seen(apart, start(apart, "5s"))
    assert (seen.done.code, seen.judged.code) == (0, 0), seen.done.words + seen.judged.words
    whole = schedule(5)
    assert seen.window["planned"] == seen.window["begun"] == len(whole)
    assert (seen.window["shed"], seen.window["may_be_lost"]) == (0, 0)
    assert len(seen.rows) == seen.counted == seen.window["requests"] == len(whole)
    # The server saw these, the warm-up's, and no others.
    assert {r["trace_id"] for r in seen.rows} <= seen.asked.keys()
    assert len(seen.asked) == len(whole) + seen.window["warmup_requests"]
    starts = seen.by_worker()
    assert starts.keys() == {ADDRESSES["worker-1"], ADDRESSES["worker-2"]}
    slots = {name: slot_of(own, whole) for name, own in starts.items()}
    assert sorted(slots.values()) == [0, 1]
    # And both began their part of it at the same time.
    begins = [own[0] - whole[slots[name]] for name, own in starts.items()]
    assert abs(begins[0] - begins[1]) < 0.25
    # Nothing is written where a worker lives but its own log.
    for name in ("worker-1", "worker-2"):
        assert {p.name for p in apart.logs[name].parent.iterdir()} == {"scenarios", "worker.log"}


def test_a_worker_with_another_scenario_file_is_turned_away_and_both_sides_say_so(
    apart: Apart,
) -> None:
    apart.work(
        "worker-1", added="\n    @task\n    def ask_more(self) -> None:\n        self.chat('?')\n"
    )
    done = apart.master.finish(start(apart, "5s"))
    sentence = (
        "has another scenario Offered than the master; give all machines the same scenario files"
    )
    assert done.code == 2, done.words
    assert f"offered could not be run: load process 0 {sentence}" in done.flat
    wait_for(lambda: sentence in apart.logs["worker-1"].read_text())
    assert apart.asked() == [], "as many arrivals, but not the same requests: none was sent"


def test_a_worker_that_dies_is_replaced_and_what_was_not_sent_in_between_is_said(
    apart: Apart,
) -> None:
    apart.work("worker-1")
    apart.work("worker-2")
    process = start(apart, "14s")
    wait_for(lambda: len(apart.asked()) >= 140)
    apart.locust_of("worker-2").kill()
    seen = Seen(apart, process)
    whole = schedule(14)
    lost = seen.window["may_be_lost"]
    assert seen.window["planned"] == len(whole)
    measured = len(seen.asked) - seen.window["warmup_requests"]
    assert len(seen.rows) == seen.counted == seen.window["requests"]
    assert len(seen.rows) <= measured <= len(seen.rows) + lost
    # The one that lived sent its whole slot.
    starts = seen.by_worker()
    slot = slot_of(starts[ADDRESSES["worker-1"]], whole)
    # The other sent of its slot what was due before it died, and again once its loop had it back.
    due, own = whole[1 - slot :: 2], starts[ADDRESSES["worker-2"]]
    begin = own[0] - due[0]
    assert sum(t - begin < 3 for t in own) > 10
    assert sum(t - begin > 11 for t in own) > 10
    assert len(own) < len(due)
    assert seen.judged.code == 3, seen.judged.words
    assert "was lost" in seen.missing
    assert "were not sent" in seen.missing
