"""
Every Prometheus metric of the app, in a registry of its own.

Each app makes its own instance, so two of them in one process never add up. Every label
combination that is known in advance exists from the start: then "none so far" is 0 on the page,
and not an absence that could also mean a broken exporter. Durations are in seconds. The table of
them all is docs/metrics.md.
"""

from __future__ import annotations

from target_app.observability.metrics.http import KNOWN_ERRORS
from target_app.observability.metrics.llm import UNPRICED
from target_app.observability.metrics.tools import UNKNOWN_TOOL
from target_app.observability.metrics.whole import Metrics, observe

__all__ = ["KNOWN_ERRORS", "UNKNOWN_TOOL", "UNPRICED", "Metrics", "observe"]
