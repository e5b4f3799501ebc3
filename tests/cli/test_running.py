"""What a run keeps besides what its witnesses say; the load itself is played here."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import running
from harness.provenance import Stack

ROOT = Path(__file__).parents[2]
# Written by hand: a copy must keep every byte of it.
FIGURES = """{"benchmark": "observability", "measured_at": "2026-11-22T07:00:00Z",
  "machine": {"cpus": 2}, "versions": {"harness": "0.1.0"},   "figures": {}}
"""


@pytest.fixture(autouse=True)
def nothing_to_ask_and_nothing_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that is there, and scenarios that send nothing."""
    monkeypatch.setattr(running, "preflight", lambda *_: None)
    monkeypatch.setattr(running, "_run_scenario", lambda *_: None)


def run(reports: Path) -> Path:
    return running.run_scenarios(
        "http://127.0.0.1:9",
        ("warm_cache",),
        folder=ROOT / "scenarios",
        reports=reports,
        slo_path=ROOT / "slo.yaml",
        prices_path=ROOT / "prices.yaml",
        stack=Stack((), {}),
        duration="",
        command="harness run",
        say=lambda _: None,
    ).path


def test_a_run_keeps_the_figures_as_they_were(tmp_path: Path) -> None:
    measured = tmp_path / "benchmarks/observability.json"
    measured.parent.mkdir()
    measured.write_text(FIGURES)

    directory = run(tmp_path)
    measured.write_text("measured anew")

    assert (directory / "benchmarks/observability.json").read_text() == FIGURES


def test_figures_that_were_never_measured_are_not_missed(tmp_path: Path) -> None:
    directory = run(tmp_path)

    assert (directory / "slo.yaml").read_text() == (ROOT / "slo.yaml").read_text()
    assert not (directory / "benchmarks").exists()
