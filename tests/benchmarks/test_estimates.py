"""Estimates: the interval of the bootstrap, and the file that the report reads."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.estimates import Estimate, bootstrap, exactly, flat, write_estimates

NOW = datetime(2026, 11, 22, 7, 0, 0, tzinfo=UTC)


def mean(items: Sequence[float], seed: int = 7) -> Estimate:
    return bootstrap(items, statistics.fmean, count=len(items), unit="seconds", seed=seed)


def test_what_never_varies_is_known_exactly() -> None:
    assert mean([0.25] * 8) == Estimate(0.25, 0.25, 0.25, 8, "seconds")


def test_the_interval_of_a_mean_is_about_two_standard_errors_to_each_side() -> None:
    draws = random.Random(1)
    items = [draws.gauss(10, 2) for _ in range(400)]

    estimate = mean(items)

    assert estimate.value == statistics.fmean(items)
    assert estimate.low == pytest.approx(estimate.value - 0.196, abs=0.03)
    assert estimate.high == pytest.approx(estimate.value + 0.196, abs=0.03)


def test_the_interval_holds_the_truth_in_most_of_many_runs() -> None:
    draws = random.Random(2)
    runs = [mean([draws.expovariate(1) for _ in range(40)]) for _ in range(100)]

    held = sum(run.low <= 1 <= run.high for run in runs)
    assert 85 <= held <= 99


def test_the_same_items_give_the_same_interval() -> None:
    items = [number**0.5 for number in range(30)]

    assert mean(items) == mean(items)
    assert mean(items, seed=1) != mean(items, seed=2)


def test_nothing_can_be_estimated_from_nothing() -> None:
    with pytest.raises(ValueError, match="nothing to estimate from"):
        mean([])


def test_flat_figures_have_an_interval_only_where_there_is_one() -> None:
    estimates = {
        "added": Estimate(0.01, -0.01, 0.03, 400, "ratio"),
        "size": exactly(1234, 1, "bytes"),
    }

    assert flat(estimates) == {
        "added": 0.01, "added_low": -0.01, "added_high": 0.03, "size": 1234,
    }  # fmt: skip


def test_the_file_says_what_was_found_when_and_on_what(tmp_path: Path) -> None:
    file = tmp_path / "reports" / "benchmarks" / "observability.json"
    estimates = {"ai_p95_added": Estimate(1 / 30, -0.01, 0.03, 400, "ratio")}

    write_estimates(file, "observability", estimates, NOW)

    document = json.loads(file.read_text())
    assert document["benchmark"] == "observability"
    assert document["measured_at"] == "2026-11-22T07:00:00Z"
    assert document["machine"]["cpus"] >= 1
    assert document["machine"]["system"].startswith("Linux ")
    assert sorted(document["versions"]) == ["harness", "python"]
    assert document["figures"] == {
        "ai_p95_added": {
            "value": 0.0333333, "low": -0.01, "high": 0.03, "count": 400, "unit": "ratio",
        }
    }  # fmt: skip
    assert [beside.name for beside in file.parent.iterdir()] == ["observability.json"]


def test_the_file_of_the_run_before_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "observability.json"
    for value in (1.0, 2.0):
        write_estimates(file, "observability", {"ratio": exactly(value, 3, "ratio")}, NOW)

    assert json.loads(file.read_text())["figures"]["ratio"]["value"] == 2
