"""What a scrape of the metrics costs after many requests, and whether it grows with them."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence

import patient_llm
from closed_loop import ask_each, ask_times, get, post
from corpus import Corpus
from estimates import Estimate, bootstrap, exactly
from figures import quantile
from processor_time import cpu_seconds
from profiles import SCRAPE_HEADERS, scrape
from servers import Server

DOCUMENTS = 200
CLIENTS = 8
EARLY = 100
"""Requests after which everything that can be counted has been, if nothing grows."""

FIFTH = 5


async def measure_scrapes(
    app: Server, corpus: Corpus, requests: int, scrapes: int
) -> dict[str, Estimate]:
    """
    Read documents and chat, each fifth time, and read the metrics early and late.

    `scrape_growth` compares the series and not the bytes: a counter of 10,000 has more digits
    than one of 100, and they are told beside it.
    """
    asked = _requests(corpus, requests)
    await ask_each(app.port, asked[:EARLY], CLIENTS)
    early = await asyncio.to_thread(scrape, app)
    await ask_each(app.port, asked[EARLY:], CLIENTS)
    before = cpu_seconds(app.process)
    # Over one connection that stays open, as from a Prometheus server.
    times = (await ask_times(app.port, get("/metrics", SCRAPE_HEADERS), 1, scrapes)).latencies
    used = (cpu_seconds(app.process) - before) / scrapes
    late = await asyncio.to_thread(scrape, app)
    return {
        "scrape_seconds": bootstrap(times, statistics.median, count=scrapes, unit="seconds"),
        "scrape_p95_seconds": bootstrap(
            times, lambda drawn: quantile(drawn, 0.95), count=scrapes, unit="seconds"
        ),
        "scrape_cpu_seconds": exactly(used, scrapes, "seconds"),
        "scrape_bytes": exactly(len(late.encode()), 1, "bytes"),
        "scrape_series": exactly(_series(late), 1, "series"),
        "scrape_growth": exactly(_series(late) / _series(early), requests, "ratio"),
        "scrape_bytes_growth": exactly(
            len(late.encode()) / len(early.encode()), requests, "ratio"
        ),
    }


def _requests(corpus: Corpus, requests: int) -> Sequence[bytes]:
    documents = [get(f"/api/documents/{name}") for name in corpus.files[:DOCUMENTS]]
    return [
        post("/api/chat", patient_llm.question("none", number))
        if number % FIFTH == 0
        else documents[number % len(documents)]
        for number in range(requests)
    ]


def _series(exposed: str) -> int:
    """Count the samples of an exposition."""
    return sum(bool(line) and not line.startswith("#") for line in exposed.splitlines())
