"""Where the buckets of the histograms end: seconds for durations, bytes for sizes."""

from __future__ import annotations

from collections.abc import Iterable

LADDER = (
    0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.113, 0.16, 0.226, 0.32, 0.453, 0.64, 0.905,
    1.28, 1.81, 2.56, 3.62, 5.12, 7.24, 10.2, 14.5, 20.5, 30.0,
)  # fmt: skip
"""Each edge about the square root of 2 above the one before: a known relative error."""

HTTP_EDGES = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
AGENT_EDGES = (0.1, 0.5, 1, 2, 5, 10, 30, 60)
LLM_EDGES = (0.1, 0.5, 1, 2, 5, 10, 20)
TOOL_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
SANDBOX_EDGES = (*TOOL_EDGES, 30)
CACHE_EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5)
TOKEN_EDGES = (10, 50, 100, 250, 500, 1000, 2000, 4000, 8000, 16000)
ITERATION_EDGES = (1, 2, 3, 4, 5, 7, 10)
MESSAGE_EDGES = (1, 2, 5, 10, 20, 50)
WAIT_EDGES = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30)
LAG_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
EXPORT_EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZE_EDGES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
DISCREPANCY_EDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)


def union(*groups: Iterable[float]) -> tuple[float, ...]:
    """Put edges together, each once and in order."""
    return tuple(sorted({float(edge) for group in groups for edge in group}))
