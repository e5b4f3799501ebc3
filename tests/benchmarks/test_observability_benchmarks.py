"""What observability costs and how Langfuse fails: both benchmarks run, small and short."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.whole

ROOT = Path(__file__).parents[2]


def run(name: str, *options: str) -> dict[str, Any]:
    """Run a benchmark as its users do; it must not have anything to complain of."""
    finished = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / f"{name}.py", "--json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    figures: dict[str, Any] = json.loads(finished.stdout)
    return figures


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    file = tmp_path_factory.mktemp("reports") / "benchmarks" / "observability.json"
    figures = run(
        "observability", "--files", "100", "--pairs", "2", "--chats", "3", "--rest", "1.5",
        "--requests", "150", "--scrapes", "3", "--rounds", "2", "--output", str(file),
    )  # fmt: skip
    return figures, file


def test_each_profile_is_compared_with_off(measured: tuple[dict[str, Any], Path]) -> None:
    figures, _ = measured

    for profile in ("metrics", "minimal", "ai", "hybrid"):
        for name in ("p50_added", "p95_added", "cpu_added"):
            low, value, high = (figures[f"{profile}_{name}{end}"] for end in ("_low", "", "_high"))
            assert low <= value <= high
            assert value > -1
        assert figures[f"{profile}_off_cpu_seconds"] > 0
    assert figures["middleware_cpu_ratio"] > 0
    assert figures["metrics_cpu_share"] > -1


def test_bytes_go_where_the_profile_sends_them(measured: tuple[dict[str, Any], Path]) -> None:
    figures, _ = measured
    sent = {
        profile: tuple(
            figures[f"{profile}_{name}"] > 100
            for name in ("wire_bytes", "plain_bytes", "log_bytes")
        )
        for profile in ("metrics", "minimal", "ai", "hybrid")
    }

    assert sent == {
        "metrics": (False, False, False),
        "minimal": (False, False, True),
        "ai": (True, True, False),
        "hybrid": (True, True, True),
    }
    # Chats with 4 LLM calls and 4 tools have 1 + 4 + 4 + 3 + 4 spans, others 1 + 1 + 1.
    assert figures["ai_spans"] == pytest.approx((16 + 16 + 3) / 3, rel=1e-4)
    assert figures["ai_row_bytes"] > 1000


def test_scrapes_do_not_grow_with_requests(measured: tuple[dict[str, Any], Path]) -> None:
    figures, _ = measured

    assert figures["scrape_growth"] == 1
    assert 0 < figures["scrape_seconds"] <= figures["scrape_p95_seconds"]
    assert figures["scrape_bytes"] > figures["scrape_series"] > 100


def test_the_figures_file_has_what_objectives_ask_for(
    measured: tuple[dict[str, Any], Path],
) -> None:
    figures, file = measured
    document = json.loads(file.read_text())

    assert document["benchmark"] == "observability"
    for name in ("ai_p95_added", "metrics_cpu_share", "scrape_seconds", "middleware_cpu_ratio"):
        found = document["figures"][name]
        assert found["value"] == pytest.approx(figures[name], rel=1e-5)
        assert found["low"] <= found["value"] <= found["high"]
        assert found["count"] > 0
    assert document["figures"]["ai_p95_added"]["count"] == 6
    assert document["figures"]["scrape_seconds"]["unit"] == "seconds"


def test_every_span_is_accounted_for_whether_langfuse_takes_it_or_not() -> None:
    figures = run(
        "outages", "--modes", "status_500", "--pairs", "1", "--chats", "3", "--requests", "40",
        "--rest", "0",
    )  # fmt: skip

    # 20 chats before the others tell how many spans a chat has.
    assert figures["healthy_spans_started"] == 60 * 3
    assert figures["healthy_spans_exported"] == 60 * 3
    assert figures["healthy_spans_received"] == 60 * 3
    assert figures["status_500_spans_started"] == 40 * 3
    assert figures["status_500_spans_exported"] == 0
    assert figures["status_500_spans_dropped"] == 40 * 3
    assert figures["healthy_spans_unaccounted"] == figures["status_500_spans_unaccounted"] == 0
    assert figures["status_500_p95_ratio"] > 0
    assert figures["off_rss_bytes"] > 0
    assert "slow_p95_ratio" not in figures
