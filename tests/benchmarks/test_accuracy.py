"""The error of a run's quantiles, from a run directory and a target's log made by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy import _errors, _true_p90, spread, whole_cycles
from benchmarks.load_runs import Loaded
from benchmarks.scripted_target import Truth
from harness.load.recorder import Recorder
from harness.model import Outcome, Sample, Window
from harness.runs import RunDirectory, WindowRecord

BEGIN = 1_800_000_000.0
OWN = """
Response time percentiles (approximated)
Type     Name        50%    95%    99%   100% # reqs
--------|---------|--------|------|------|------|------
         Aggregated  60    100    100    100    100
"""


def sample(number: int, service_time: float) -> Sample:
    start = BEGIN + number
    return Sample("at50", "chat", f"{number:032x}", start, start, start + service_time, Outcome.OK)


def run_of(samples: list[Sample], folder: Path) -> Loaded:
    recorder = Recorder()
    for one in samples:
        recorder.record(one)
    window = WindowRecord(Window("at50", ("at50",), BEGIN, BEGIN + 200), "Poisson", open_loop=True)
    directory = RunDirectory(folder)
    directory.append_samples("at50", samples)
    directory.write_histograms("at50", recorder.histograms)
    return Loaded(BEGIN, directory, window, OWN)


def truth_of(count: int) -> Truth:
    """100 requests of 1 to 100 ms, by trace id."""
    answered = [
        (f"{number:032x}", BEGIN + number, BEGIN + number + (number + 1) / 1000)
        for number in range(count)
    ]
    return Truth(chats=count, first=BEGIN, answered=answered)


def test_a_client_that_sees_two_milliseconds_more_is_wrong_by_them(tmp_path: Path) -> None:
    run = run_of([sample(number, (number + 3) / 1000) for number in range(100)], tmp_path)

    figures = _errors(run, truth_of(100))

    assert figures["err_p50_seconds"] == pytest.approx(0.002, abs=1e-4)
    assert figures["err_p50"] == pytest.approx(2 / 50, rel=0.05)
    assert figures["err_p99"] == pytest.approx(2 / 99, rel=0.05)
    # Locust said 60 where 50 is true, and 100 where 95 is.
    assert figures["locust_err_p50"] == pytest.approx(0.2, rel=1e-4)
    assert figures["locust_err_p95_seconds"] == pytest.approx(0.005, rel=1e-3)


def test_what_the_target_answered_and_the_run_lacks_is_an_error(tmp_path: Path) -> None:
    run = run_of([sample(number, 0.01) for number in range(99)], tmp_path)

    with pytest.raises(RuntimeError, match="answered 100 chats, the run has 99 rows"):
        _errors(run, truth_of(100))


def test_the_true_p90_follows_from_the_schedule_and_the_freezes() -> None:
    truth = Truth(first=BEGIN, freezes=[(BEGIN + 4, BEGIN + 5)])

    assert _true_p90(BEGIN, 500, truth) == pytest.approx(0.54, abs=0.011)


def test_a_freezing_target_is_asked_for_whole_cycles() -> None:
    assert [whole_cycles(seconds) for seconds in (1, 5, 12.4, 20)] == [5, 5, 10, 20]


def test_repetitions_are_told_by_their_median_and_range() -> None:
    assert spread("x", [3.0, 1.0, 2.0]) == {"x": 2.0, "x_low": 1.0, "x_high": 3.0}
