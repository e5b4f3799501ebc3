"""The benchmarks run, small and short: what they print, not how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SMALL = {
    "chat": ("--files", "100", "--rounds", "1", "--seconds", "0.05", "--requests", "20",
             "--rest", "0"),
    "cache": ("--files", "100", "--many-files", "200", "--seconds", "0.01", "--changes", "1",
              "--zipf-rounds", "1"),
}  # fmt: skip
"""A run in a few seconds."""


def run(name: str, *options: str) -> str:
    """Run a benchmark as its users do; it must not have anything to complain of."""
    finished = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{name}.py", *SMALL[name], *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def test_the_chat_benchmark_prints_one_flat_object() -> None:
    figures = json.loads(run("chat", "--json"))

    assert all(isinstance(value, float) for value in figures.values())
    assert all(
        figures[f"{prefix}floor_{ratio}_c{clients}"] > 0
        for prefix in ("", "plan_")
        for ratio in ("ratio", "cpu_ratio")
        for clients in (1, 8, 32)
    )
    assert figures["traced_floor_ratio_c8"] > 0
    assert figures["traced_plan_floor_ratio_c8"] > 0
    assert 0 < figures["p50_app_c8_seconds"] <= figures["p95_app_c8_seconds"]
    assert figures["p95_app_c8_seconds"] <= figures["p99_app_c8_seconds"]
    assert figures["rss_before_bytes"] > 0
    assert figures["open_files_before"] > 0


def test_the_cache_benchmark_prints_one_flat_object() -> None:
    figures = json.loads(run("cache", "--json"))

    assert all(isinstance(value, float) for value in figures.values())
    for name in ("grep_tree", "find_tree", "cat"):
        command, warm = figures[f"{name}_command_seconds"], figures[f"{name}_warm_seconds"]
        assert figures[f"{name}_speedup"] == pytest.approx(command / warm, rel=1e-3)
    assert figures["grep_tree_speedup_20k"] > 0
    assert figures["changed_elsewhere_seconds"] > 0
    # The calls are drawn by a seed: 129 different ones among 600.
    assert figures["zipf_hit_rate"] == pytest.approx(1 - 129 / 600)
