"""The headers that let every witness recognise a request: W3C Trace Context and Baggage."""

from __future__ import annotations

import os
import random
from urllib.parse import quote

# Asking the system for random bytes is a call into the kernel for every request. This asks once
# a process: the ids have to be different everywhere, not secret.
_draw = random.Random(os.urandom(32))  # noqa: S311
os.register_at_fork(after_in_child=lambda: _draw.seed(os.urandom(32)))


def new_trace_id() -> str:
    """Make a trace id: 32 lower-case hexadecimal digits, never all zero."""
    return f"{_draw.getrandbits(128) | 1:032x}"


def traceparent(trace_id: str) -> str:
    """
    Write the value of `traceparent`, sampled, with a parent id of its own.

    Source: https://www.w3.org/TR/trace-context/
    """
    return f"00-{trace_id}-{_draw.getrandbits(64) | 1:016x}-01"


def baggage(run_id: str, scenario: str) -> str:
    """Write the value of `baggage`: run and scenario. Source: https://www.w3.org/TR/baggage/ ."""
    return f"run={quote(run_id)},scenario={quote(scenario)}"


def headers(trace_id: str, run_id: str, scenario: str) -> dict[str, str]:
    """Write both headers of one request."""
    return {"traceparent": traceparent(trace_id), "baggage": baggage(run_id, scenario)}
