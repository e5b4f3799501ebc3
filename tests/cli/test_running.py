"""What a run keeps besides what its witnesses say; the load itself is played here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main, running
from harness.cli.running import Load
from harness.model import Window
from harness.provenance import Stack
from harness.runs import RunDirectory, Snapshot, WindowRecord
from harness.slo import load_slo

ROOT = Path(__file__).parents[2]
# Written by hand: a copy must keep every byte of it.
FIGURES = """{"benchmark": "observability", "measured_at": "2026-11-22T07:00:00Z",
  "machine": {"cpus": 2}, "versions": {"harness": "0.1.0"},   "figures": {}}
"""


class Played:
    """Takes the place of Locust: notes how it was started, and leaves a window."""

    def __init__(self) -> None:
        self.loads: dict[str, Load] = {}
        self.costs = 0.0

    def __call__(
        self, directory: RunDirectory, file: Path, target: str, load: Load, say: object
    ) -> None:
        del target, say
        self.loads[file.stem] = load
        window = Window(file.stem, (file.stem,), 1.0, 2.0)
        directory.write_window(
            WindowRecord(
                window, "", open_loop=True, requests=30, warmup_requests=10, spent_usd=self.costs
            )
        )


# Kept from before a test plays it.
asked_for_real = running.preflight


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    """A target that is there, and scenarios that send nothing."""
    load = Played()
    monkeypatch.setattr(running, "preflight", lambda *_: None)
    monkeypatch.setattr(running, "see_that_they_run", lambda _: None)
    monkeypatch.setattr(running, "_run_scenario", load)
    return load


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., RunDirectory]:
    def run(
        *scenarios: str,
        load: Load = Load(),  # noqa: B008 - it is frozen
        prices: Path | None = ROOT / "prices.yaml",
    ) -> RunDirectory:
        slo = tmp_path / "slo.yaml"
        slo.write_text((ROOT / "slo.yaml").read_text().partition("\nobjectives:")[0] + OBJECTIVE)
        return running.run_scenarios(
            "http://127.0.0.1:9",
            scenarios or ("warm_cache",),
            folder=ROOT / "scenarios",
            reports=tmp_path,
            slo_path=slo,
            prices_path=prices,
            stack=Stack((), {}),
            load=load,
            command="harness run",
            say=lambda _: None,
        )

    return run


OBJECTIVE = """
objectives:
  - name: metrics_cpu
    says: The metrics are cheap.
    kind: amount
    at_most: 1%
    witnesses: {benchmark: {file: observability, figure: metrics_cpu_share}}
"""


def test_a_run_keeps_the_figures_as_they_were(
    tmp_path: Path, run: Callable[..., RunDirectory]
) -> None:
    measured = tmp_path / "benchmarks/observability.json"
    measured.parent.mkdir()
    measured.write_text(FIGURES)

    directory = run()
    measured.write_text("measured anew")

    assert (directory.path / "benchmarks/observability.json").read_text() == FIGURES


def test_figures_that_were_never_measured_are_not_missed(
    tmp_path: Path, run: Callable[..., RunDirectory]
) -> None:
    directory = run()

    assert (directory.path / "slo.yaml").read_text() == (tmp_path / "slo.yaml").read_text()
    assert not (directory.path / "benchmarks").exists()


def test_a_run_without_a_price_book_keeps_none(
    run: Callable[..., RunDirectory], played: Played
) -> None:
    directory = run(prices=None)
    assert list(played.loads) == ["warm_cache"]
    assert not (directory.path / "prices.yaml").exists()


SCRAPED = """\
# TYPE ask_seconds histogram
ask_seconds_bucket{le="1"} 1
ask_seconds_bucket{le="+Inf"} 2
ask_seconds_sum 3
ask_seconds_count 2
# TYPE calls_total counter
calls_total 4
"""


def test_a_metric_that_is_not_there_is_told_with_those_named_almost_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "scrape", lambda *_: Snapshot(1.0, 0.01, SCRAPED, ""))
    path = tmp_path / "slo.yaml"
    path.write_text(
        "version: 1\nreconcile: {requests: ask_secs}\nobjectives:\n  - {name: n, says: They "
        "answer., kind: latency, quantile: 95%, at_most: 1s, witnesses: {metrics: {histogram: "
        "ask_secs}}}\n  - {name: m, says: None., kind: count, at_most: 0, witnesses: {metrics: "
        "{counter: kettles_boiled}}}\n"
    )
    said: list[str] = []
    asked_for_real("http://127.0.0.1:9", load_slo(path), {}, said.append)
    (note,) = said
    assert note == (
        "note: http://127.0.0.1:9/metrics does not (yet) have ask_secs (but ask_seconds), "
        "kettles_boiled"
    )


def test_the_limits_are_those_of_the_whole_run(
    run: Callable[..., RunDirectory], played: Played
) -> None:
    played.costs = 0.5
    run("warm_cache", "cold_cache", load=Load(max_requests=100, budget_usd=2.0))
    given = [(load.max_requests, load.budget_usd) for load in played.loads.values()]
    assert given == [(100, 2.0), (60, 1.5)], "30 requests and 10 to warm up were sent before"


def test_a_scenario_for_which_nothing_is_left_is_not_run_and_that_is_noted(
    run: Callable[..., RunDirectory], played: Played
) -> None:
    directory = run("warm_cache", "cold_cache", load=Load(max_requests=40))
    assert list(played.loads) == ["warm_cache"]
    assert directory.read_run().notes == (
        "cold_cache was not run: --max-requests was used up before",
    )


def test_one_process_needs_no_master() -> None:
    assert Load().arguments() == []
    assert Load("30s", max_requests=5, budget_usd=0.1).arguments() == [
        "--load-duration", "30s", "--max-requests", "5", "--budget-usd", "0.1",
    ]  # fmt: skip


def test_several_processes_meet_their_master_at_a_free_port_of_this_machine() -> None:
    words = Load(processes=3).arguments()
    assert words[:4] == ["--processes", "3", "--master-bind-host", "127.0.0.1"]
    assert words[4] == "--master-bind-port"
    assert words[6:] == ["--master-port", words[5]]
    assert words[5] != "5557"


def test_processes_on_other_machines_are_waited_for_where_they_were_told() -> None:
    words = Load(processes=2, master=("10.0.0.7", 6000)).arguments()
    assert words == [
        "--master", "--expect-workers", "2", "--expect-workers-max-wait", "300",
        "--master-bind-host", "10.0.0.7", "--master-bind-port", "6000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("about", "names"),
    [
        pytest.param("slow", ("slow",), id="one that a promise is about"),
        pytest.param("all", ("fast", "slow"), id="all, when no promise is about one of them"),
    ],
)
def test_without_a_name_those_are_run_that_something_is_promised_about(
    tmp_path: Path, about: str, names: tuple[str, ...]
) -> None:
    path = tmp_path / "slo.yaml"
    path.write_text(
        "version: 1\nobjectives:\n  - {name: n, says: They answer., kind: ratio, at_least: 98%, "
        f"scenario: {about}, witnesses: {{client: ok}}}}\n"
    )
    assert running.promised(load_slo(path, ("fast", "slow")), ("fast", "slow")) == names


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(("--processes", "0"), "'0' is not a count; give 1 or more", id="none"),
        pytest.param(("--max-requests", "1e3"), "'1e3' is not a count", id="no whole number"),
        pytest.param(("--budget-usd", "-1"), "'-1' is not an amount in USD", id="no budget"),
        pytest.param(
            ("--duration", "5"), "'5' is not a duration; write it like 30s", id="no unit"
        ),
    ],
)
def test_an_option_that_is_none_is_refused_with_the_mend(
    options: tuple[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--host", "http://127.0.0.1:9", *options])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_load_is_sent_from_here_or_from_elsewhere(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["run", "--host", "http://127.0.0.1:9", "--processes", "2", "--expect-workers", "2"]
    assert main(words) == 2
    assert "give one of them" in capsys.readouterr().err
