"""The benchmark of the load engine runs, small and short: what it prints, not how fast it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    """Run it as its users do; it must not have anything to complain of."""
    finished = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "load.py", "--json", "--quick", "--seconds", "1",
         "--only", "recording", "errors", "merge"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert (finished.returncode, finished.stderr) == (0, "")
    printed: dict[str, float] = json.loads(finished.stdout)
    return printed


def test_it_prints_each_figure_with_its_range(figures: dict[str, float]) -> None:
    for name in ("record_us", "record_worker_us", "err_p50_at_50", "locust_err_p99_at_200"):
        assert 0 < figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]


def test_only_the_parts_asked_for_are_measured(figures: dict[str, float]) -> None:
    assert "rps_ratio" not in figures
    assert "start_seconds" not in figures
    assert "sent_ratio" not in figures


def test_the_error_is_that_of_the_worse_rate(figures: dict[str, float]) -> None:
    for name in ("err_p50", "err_p95_seconds", "locust_err_p99"):
        assert figures[name] == max(figures[f"{name}_at_50"], figures[f"{name}_at_200"])


def test_the_client_is_near_the_truth_however_busy_the_machine(figures: dict[str, float]) -> None:
    assert figures["err_p50"] < 0.5
    assert figures["err_p50_seconds"] < 0.06


def test_two_load_processes_merge_to_the_histograms_of_one(figures: dict[str, float]) -> None:
    assert figures["merge_exact"] == 1
    # A second each at about 50, 200 and, from two processes, 200 requests a second.
    assert 300 < figures["merged_samples"] < 600
