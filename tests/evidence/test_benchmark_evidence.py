"""Figures measured before the run: read strictly, answered as they are, left out when not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.evidence.benchmarks import (
    BenchmarkEvidence,
    FiguresError,
    parse_benchmark,
    read_benchmarks,
)
from harness.model import Ask, Indicator, Interval, Kind, Objective, Run
from harness.runs import RunDirectory

GOOD: dict[str, Any] = {
    "benchmark": "speed",
    "measured_at": "2026-11-22T07:00:00Z",
    "machine": {"cpus": 2, "system": "Linux 6.1"},
    "versions": {"python": "3.11.7", "harness": "0.1.0"},
    "figures": {
        "added": {"value": 0.012, "low": -0.01, "high": 0.03, "count": 400, "unit": "ratio"},
        "scrape": {"value": 0.02, "low": 0.02, "high": 0.02, "count": 50, "unit": "seconds"},
        "price": {"value": 0.1, "low": 0.1, "high": 0.2, "count": 5, "unit": "USD"},
        "size": {"value": 9000, "low": 9000, "high": 9000, "count": 1, "unit": "bytes"},
    },
}
RUN = Run(
    "20260921-100000-cafe", 1.0, "http://t", "harness run", (),
    versions={"python": "3.11.7", "harness": "0.1.0", "locust": "2.47"},
    machine={"cpus": "2", "system": "Linux 6.1", "load_average": "0.5"},
    expected_windows=(),
)  # fmt: skip


def objective(figure: str, unit: str, benchmark: str = "speed", name: str = "") -> Objective:
    ask = Ask(figure, benchmark=benchmark)
    indicator = Indicator(name or figure, Kind.AMOUNT, {"benchmark": ask}, unit=unit)
    return Objective(name or figure, "It holds.", "all", indicator, 0.05, "<= 5%", at_least=False)


def kept(folder: Path, **changes: Any) -> BenchmarkEvidence:
    directory = RunDirectory.create(folder, RUN)
    directory.write_benchmark("speed", json.dumps({**GOOD, **changes}))
    return BenchmarkEvidence(directory, ("speed", "memory"))


@pytest.mark.parametrize(
    ("figure", "unit", "value", "events"),
    [
        pytest.param("added", "%", Interval(-0.01, 0.03), 400, id="a share, as an interval"),
        pytest.param("added", "", Interval(-0.01, 0.03), 400, id="the same as a plain number"),
        pytest.param("scrape", "s", Interval(0.02, 0.02), 50, id="seconds, known exactly"),
        pytest.param("price", "USD", Interval(0.1, 0.2), 5, id="dollars"),
    ],
)
def test_a_figure_answers_with_its_interval(
    tmp_path: Path, figure: str, unit: str, value: Interval, events: int
) -> None:
    found = kept(tmp_path).measure(objective(figure, unit).indicator, ())
    assert (found.value, found.events) == (value, events)
    assert found.asked == f"{figure} of the benchmark speed"
    assert found.note == "measured before this run, at 2026-11-22T07:00:00Z"


@pytest.mark.parametrize(
    ("figure", "unit", "note"),
    [
        pytest.param("scrape", "%", "its unit is 'seconds', and the promise needs 'ratio'",
                     id="seconds for a share"),
        pytest.param("size", "", "its unit is 'bytes', and the promise needs 'ratio'",
                     id="a unit that nothing can be promised in"),
        pytest.param("gone", "%", "it was not measured", id="no such figure"),
    ],
)  # fmt: skip
def test_what_it_cannot_answer_is_no_value(
    tmp_path: Path, figure: str, unit: str, note: str
) -> None:
    found = kept(tmp_path).measure(objective(figure, unit).indicator, ())
    assert (found.value, found.note) == (None, note)


def test_objectives_on_figures_that_were_not_measured_are_left_out(tmp_path: Path) -> None:
    evidence = kept(tmp_path)
    added, gone, memory = (
        objective("added", "%"),
        objective("gone", "%", name="lost"),
        objective("rss", "", "memory"),
    )
    asks_no_benchmark = Objective(
        "hits", "Cached.", "all", Indicator("hits", Kind.RATIO, {"client": Ask("ok")}), 0.8, ""
    )
    objectives = [asks_no_benchmark, added, gone, memory]

    assert evidence.measured(objectives) == [asks_no_benchmark, added]
    assert evidence.unmeasured(objectives) == [
        (
            "Not measured, and so not judged: lost; the benchmark speed was run, but its figures lack "
            "gone. `python benchmarks/speed.py` measures them for the runs after it."
        ),
        (
            "Not measured, and so not judged: rss; the run has no figures of the benchmark memory. "
            "`python benchmarks/memory.py` measures them for the runs after it."
        ),
    ]


def test_facts_tell_when_on_what_and_which_figures_are_promised(tmp_path: Path) -> None:
    (facts,) = kept(tmp_path).facts(RUN, [objective("added", "%", name="p95_added")])
    assert facts == {
        "name": "speed",
        "measured_at": "2026-11-22T07:00:00Z",
        "machine": {"cpus": "2", "system": "Linux 6.1"},
        "versions": {"python": "3.11.7", "harness": "0.1.0"},
        "differences": [],
        "figures": [
            {"objective": "p95_added", "figure": "added", "value": 0.012, "low": -0.01,
             "high": 0.03, "count": 400, "unit": "ratio"}
        ],
    }  # fmt: skip


def test_another_version_or_machine_is_said(tmp_path: Path) -> None:
    evidence = kept(
        tmp_path,
        versions={"python": "3.13.1", "harness": "0.1.0", "compiler": "12"},
        machine={"cpus": 8, "load_average": "7.1"},
    )
    (facts,) = evidence.facts(RUN, [])
    assert facts["differences"] == [
        "python was 3.13.1 when it was measured and is 3.11.7 in this run",
        "cpus was 8 when it was measured and is 2 in this run",
    ]


def test_what_the_run_keeps_is_read_as_strictly(tmp_path: Path) -> None:
    with pytest.raises(FiguresError) as refused:
        kept(tmp_path, figures={"added": {}})
    path = tmp_path / RUN.id / "benchmarks/speed.json"
    assert str(refused.value) == f"{path}: figures.added.low: missing; it must be given"


# -- the file ----------------------------------------------------------------------------


def changed(place: str, value: Any) -> dict[str, Any]:
    """The good file with one field changed; its place is written with dots."""
    whole: dict[str, Any] = json.loads(json.dumps(GOOD))
    *path, last = place.split(".")
    inner = whole
    for key in path:
        inner = inner[key]
    inner[last] = value
    return whole


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [
        ("benchmark", "size", "benchmark: is 'size'; a file bears its own name"),
        ("benchmark", 7, "benchmark: must be a text"),
        ("measured_at", "yesterday",
         "measured_at: 'yesterday' is not an instant such as 2026-11-22T07:00:00Z"),
        ("measured_at", "2026-11-22T07:00:00",
         "measured_at: '2026-11-22T07:00:00' is not an instant such as 2026-11-22T07:00:00Z"),
        ("machine", {}, "machine: is empty; it must say at least one thing"),
        ("machine", "big", "machine: must be an object"),
        ("versions.python", ["3"], "versions.python: must be a text or a number"),
        ("figures", [], "figures: must be an object"),
        ("figures.added", 0.01, "figures.added: must be an object"),
        ("figures.added.low", None, "figures.added.low: must be a number"),
        ("figures.added.low", True, "figures.added.low: must be a number"),
        ("figures.added.high", float("nan"), "figures.added.high: is not a finite number"),
        ("figures.added.high", 10**400, "figures.added.high: is not a finite number"),
        ("figures.added.high", -0.011, "figures.added.low: -0.01 is above high, -0.011"),
        ("figures.added.count", 0, "figures.added.count: 0 is not a whole number of at least 1"),
        ("figures.added.count", 1.5,
         "figures.added.count: 1.5 is not a whole number of at least 1"),
        ("figures.added.unit", "", "figures.added.unit: must be a text"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_named_with_its_field(place: str, value: Any, error: str) -> None:
    with pytest.raises(FiguresError) as refused:
        parse_benchmark("speed", json.dumps(changed(place, value)), Path("b/speed.json"))
    assert str(refused.value) == f"b/speed.json: {error}"


@pytest.mark.parametrize("place", ["measured_at", "versions", "figures.scrape.unit"])
def test_a_field_that_is_missing_is_named(place: str) -> None:
    whole = changed(place, None)
    *path, last = place.split(".")
    inner = whole
    for key in path:
        inner = inner[key]
    del inner[last]
    with pytest.raises(FiguresError) as refused:
        parse_benchmark("speed", json.dumps(whole), Path("speed.json"))
    assert str(refused.value) == f"speed.json: {place}: missing; it must be given"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("{", "is not JSON: ", id="half a file"),
        pytest.param("[]", "its top: must be an object", id="a list"),
        pytest.param("[" * 100_000, "is not JSON: ", id="a tower"),
    ],
)
def test_what_is_no_object_at_all(text: str, error: str) -> None:
    with pytest.raises(FiguresError) as refused:
        parse_benchmark("speed", text, Path("speed.json"))
    assert str(refused.value).startswith(f"speed.json: {error}")


def test_files_that_are_there_are_read_whole_and_others_are_not_missed(tmp_path: Path) -> None:
    text = json.dumps(GOOD, indent=3)
    (tmp_path / "speed.json").write_text(text)
    assert read_benchmarks(("speed", "memory"), tmp_path) == {"speed": text}
    assert read_benchmarks(("speed",), tmp_path / "gone") == {}


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(lambda p: p.write_bytes(b"\xff"), "is not UTF-8 text", id="bytes"),
        pytest.param(lambda p: p.mkdir(), "cannot be read: Is a directory", id="a folder"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, make: Any, error: str) -> None:
    path = tmp_path / "speed.json"
    make(path)
    with pytest.raises(FiguresError) as refused:
        read_benchmarks(("speed",), tmp_path)
    assert str(refused.value) == f"{path}: {error}"
