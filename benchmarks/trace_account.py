"""What became of the spans of an app, by its own counters."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

SINK = "langfuse"
POLL_SECONDS = 0.25

STILL_SECONDS = 3.0
"""Longer than the app keeps spans before it sends them."""

Read = Callable[[], Awaitable[str]]
"""Reads the metrics of the app."""

_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} (\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Account:
    """Spans that were sent, that were lost, and that still wait."""

    exported: int
    dropped: int
    queued: int

    @property
    def told(self) -> int:
        """All that it tells of."""
        return self.exported + self.dropped + self.queued


def read_account(exposed: str) -> Account:
    """Read `trace_spans_total` and `trace_queue_spans` of the sink that Langfuse is."""
    results = {
        labels["result"]: amount
        for labels, amount in _samples(exposed, "trace_spans_total")
        if labels["sink"] == SINK
    }
    queued = [
        amount
        for labels, amount in _samples(exposed, "trace_queue_spans")
        if labels["sink"] == SINK
    ]
    exported = results.pop("exported", 0.0)
    return Account(int(exported), int(sum(results.values())), int(sum(queued)))


async def settled(read: Read, started: int, timeout_seconds: float) -> Account:
    """Wait until nothing is queued and all that was started is told of, or the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        account = read_account(await read())
        is_settled = account.queued == 0 and account.told >= started
        if is_settled or time.monotonic() > deadline:
            return account
        await asyncio.sleep(POLL_SECONDS)


async def still(read: Read, seconds: float = STILL_SECONDS) -> Account:
    """Wait until nothing is queued and nothing has moved for so long."""
    before = None
    while True:
        account = read_account(await read())
        if account == before and not account.queued:
            return account
        before = account
        await asyncio.sleep(seconds)


def _samples(exposed: str, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (dict(_LABEL.findall(labels)), float(amount))
        for found, labels, amount in _SAMPLE.findall(exposed)
        if found == name
    ]
