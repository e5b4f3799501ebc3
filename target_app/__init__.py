"""A reference agent, instrumented: an LLM answers questions about a folder with tools."""

from __future__ import annotations

import sys


def _join_workers() -> None:
    """Have the metrics of several workers added up; see there why so early."""
    # A process that was started by multiprocessing has loaded it; others are spared the time.
    if "multiprocessing.process" in sys.modules:
        from target_app.observability.multiprocess import join_workers  # noqa: PLC0415

        join_workers()


_join_workers()
