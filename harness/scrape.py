"""Read /metrics once, keep it as it came, and note how long it took."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import httpx

from harness.credentials import target_headers
from harness.runs import Snapshot

_TIMEOUT_SECONDS = 10.0
_TEXT = "text/plain; version=0.0.4"


def metrics_url(target: str, environment: Mapping[str, str] = os.environ) -> str:
    """Where a target's metrics are: METRICS_URL, or /metrics of the target."""
    return environment.get("METRICS_URL") or f"{target.rstrip('/')}/metrics"


def scrape(url: str, target: str) -> Snapshot:
    """
    Read the metrics at an address; a snapshot without text says why there is none.

    What proves to the target who asks goes along only when the address is its own.
    """
    own = httpx.URL(url).netloc == httpx.URL(target).netloc
    headers = {"Accept": _TEXT} | (target_headers() if own else {})
    with httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client:
        at, begin = time.time(), time.perf_counter()  # a client takes long to make: not counted
        try:
            answer = client.get(url, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            seconds = time.perf_counter() - begin
            return Snapshot(at, seconds, None, f"{url} cannot be read: {error}")
    seconds = time.perf_counter() - begin
    if answer.status_code != httpx.codes.OK:
        return Snapshot(at, seconds, None, f"{url} answered {answer.status_code}")
    return Snapshot(at, seconds, answer.text)
