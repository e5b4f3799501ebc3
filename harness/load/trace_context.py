"""The headers that let every witness recognise a request: W3C Trace Context and Baggage."""

from __future__ import annotations

import secrets
from urllib.parse import quote


def new_trace_id() -> str:
    """Make a trace id: 32 lower-case hexadecimal digits, never all zero."""
    return secrets.token_bytes(15).hex() + "01"


def headers(trace_id: str, run_id: str, scenario: str) -> dict[str, str]:
    """
    Write `traceparent` (sampled) and `baggage` with run and scenario.

    Source: https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/
    """
    return {
        "traceparent": f"00-{trace_id}-{secrets.token_bytes(8).hex()}-01",
        "baggage": f"run={quote(run_id)},scenario={quote(scenario)}",
    }
