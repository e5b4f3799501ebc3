"""
What the app does when Langfuse fails: its latency, its memory, and where its spans went.

    python benchmarks/outages.py [--json] [--quick]

For each way to fail, the app with tracing and the app without answer the same light chats in
turns, A B B A, at 50 requests a second. Then the one with tracing answers as many as it can,
for its memory and for the account of its spans. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import otlp_sink
import patient_llm
import uvloop
from closed_loop import ask_each, post
from corpus import make_corpus
from estimates import Estimate, bootstrap, exactly, flat
from figures import Target, print_json, print_machine, print_table, print_targets
from profiles import (
    LANGFUSE_KEYS,
    METRICS,
    TARGET,
    app_settings,
    counts_of,
    profile_settings,
    scrape,
)
from servers import Server, serving, wait_until_ready
from side_by_side import Pace, Pair, added_latency, compare, quantiles, requests_a_side
from trace_account import Account, Read, settled, still

RATE = 50.0
LLM_SECONDS = "0.05,0.15"
REST_SECONDS = 1.5
CLIENTS = 8
PROBE_CHATS = 20
FILES = 100

SESSIONS = 50
"""So few that what they remember is at its limit before memory is looked at."""

SAMPLES = 40
WARM_UP_SHARE = 0.4
"""Of the requests, before memory is looked at: by then every bound has been reached."""

SETTLE_SECONDS = 90.0
"""How long the last spans may take: longer than a few exports that run into their timeout."""

SLOW_SECONDS = 10

OFF = "off"
HEALTHY = "healthy"
REFUSED = "refused"
SINKS: Mapping[str, Mapping[str, str]] = {
    HEALTHY: {},
    "slow": {otlp_sink.WAIT_SECONDS: str(SLOW_SECONDS)},
    "status_429": {otlp_sink.STATUS: "429"},
    "status_500": {otlp_sink.STATUS: "500"},
    "status_401": {otlp_sink.STATUS: "401"},
}
MODES = (HEALTHY, REFUSED, *(mode for mode in SINKS if mode != HEALTHY))

MOST_RATIO = 1.05
MOST_SLOPE_BYTES = 100 * 1024

BOUNDS = {"p95_ratio": MOST_RATIO, "rss_slope_bytes": MOST_SLOPE_BYTES, "spans_unaccounted": 0}
"""What is wanted of every way to fail."""

Estimates = dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are: documents, LLMs that take their time or none, and a folder for more."""

    documents: Path
    patient: Server
    instant: Server
    folder: Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of an app, each after so many requests."""

    requests: Sequence[int]
    rss_bytes: Sequence[int]

    def estimates(self, name: str) -> Estimates:
        """Tell the slope for 1,000 requests, and where it ended."""
        steps = list(zip(self.requests, self.rss_bytes, strict=True))
        count = self.requests[-1]
        return {
            f"{name}_rss_slope_bytes": exactly(_slope(steps) * 1000, count, "bytes"),
            f"{name}_rss_bytes": exactly(self.rss_bytes[-1], count, "bytes"),
        }


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as made, _place(Path(made)) as place:
        estimates = _measure(options, place)
    if options.json:
        print_json(flat(estimates))
    else:
        _print_tables(estimates, options.modes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure the app while Langfuse fails.")
    parser.add_argument("--json", action="store_true", help="print one flat object")
    parser.add_argument("--quick", action="store_true", help="about 2 minutes; rough figures")
    parser.add_argument("--pairs", type=int, help="pairs of blocks a way to fail (4)")
    parser.add_argument("--chats", type=int, help="chats a block (200)")
    parser.add_argument("--requests", type=int, help="requests for the memory (20000)")
    parser.add_argument("--rest", type=float, default=REST_SECONDS, help="seconds after a block")
    parser.add_argument(
        "--modes", nargs="+", choices=MODES, default=MODES, help="some of them only"
    )
    options = parser.parse_args()
    # What a healthy Langfuse gets is what the others are held against.
    options.modes = tuple(dict.fromkeys((HEALTHY, *options.modes)))
    usual = (2, 50, 4000) if options.quick else (4, 200, 20_000)
    for name, value in zip(("pairs", "chats", "requests"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


@contextmanager
def _place(folder: Path) -> Iterator[Place]:
    documents = make_corpus(folder / "documents", FILES, FILES * 15_000).folder
    factory = "patient_llm:create_app"
    with (
        serving("llm", factory, {patient_llm.SECONDS: LLM_SECONDS}, folder) as patient,
        serving("instant_llm", factory, {patient_llm.SECONDS: "0,0"}, folder) as instant,
    ):
        for server in (patient, instant):
            wait_until_ready(server, folder)
        yield Place(documents, patient, instant, folder)


def _measure(options: argparse.Namespace, place: Place) -> Estimates:
    estimates: Estimates = {}
    with _app("untraced", place.patient, _off(place), place) as off:
        for mode in options.modes:
            with (
                _langfuse(mode, "paced", place) as langfuse,
                _app(f"{mode}_paced", place.patient, _tracing(langfuse), place) as on,
            ):
                estimates |= uvloop.run(_latency(mode, off, on, options))
    with _app("untraced_memory", place.instant, _off(place), place) as off:
        estimates |= uvloop.run(_memory(off, options.requests)).estimates(OFF)
    spans_a_chat = 0.0
    for mode in options.modes:
        with (
            _langfuse(mode, "memory", place) as langfuse,
            _app(f"{mode}_memory", place.instant, _tracing(langfuse), place) as on,
        ):
            probed = 0
            if langfuse.sink is not None and mode == HEALTHY:
                spans_a_chat = uvloop.run(_spans_a_chat(on, langfuse.sink))
                probed = PROBE_CHATS
            estimates |= uvloop.run(_memory(on, options.requests)).estimates(mode)
            started = round((probed + options.requests) * spans_a_chat)
            account = uvloop.run(settled(_reader(on), started, SETTLE_SECONDS))
            estimates |= _accounted(mode, started, account)
            if langfuse.sink is not None and mode == HEALTHY:
                received = counts_of(langfuse.sink).spans
                estimates["healthy_spans_received"] = exactly(received, started, "spans")
    return estimates


@dataclass(frozen=True, slots=True)
class Langfuse:
    """Where the app thinks Langfuse is; nobody is there when connections are refused."""

    url: str
    sink: Server | None


@contextmanager
def _langfuse(mode: str, name: str, place: Place) -> Iterator[Langfuse]:
    """Stand in for a Langfuse that works, or fails in one way."""
    if mode == REFUSED:
        # Bound, so that nobody else takes the port, but not listening.
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            yield Langfuse(f"http://127.0.0.1:{nobody.getsockname()[1]}", None)
        return
    with serving(f"{mode}_{name}_sink", "otlp_sink:create_app", SINKS[mode], place.folder) as sink:
        wait_until_ready(sink, place.folder)
        yield Langfuse(sink.url(""), sink)


def _off(place: Place) -> Mapping[str, str]:
    return profile_settings(METRICS, place.patient)


def _tracing(langfuse: Langfuse) -> Mapping[str, str]:
    return {
        "OBSERVABILITY_PROFILE": "ai",
        "LANGFUSE_ENABLED": "true",
        "LANGFUSE_HOST": langfuse.url,
        **LANGFUSE_KEYS,
    }


@contextmanager
def _app(name: str, llm: Server, profile: Mapping[str, str], place: Place) -> Iterator[Server]:
    settings = {
        **app_settings(llm, place.documents, place.folder / f"{name}_cache"),
        **profile,
        "MAX_SESSIONS": str(SESSIONS),
    }
    with serving(name, TARGET, settings, place.folder) as server:
        wait_until_ready(server, place.folder)
        yield server


async def _latency(mode: str, off: Server, on: Server, options: argparse.Namespace) -> Estimates:
    """Compare the latency with that of tracing off."""
    for server in (off, on):
        await ask_each(server.port, _chats(0, options.chats), CLIENTS)
    pairs = await compare(
        {"off": off, "on": on},
        lambda pair: _chats(pair * options.chats, options.chats),
        options.pairs,
        Pace(RATE, options.rest),
    )

    def ratio(drawn: Sequence[Pair]) -> float:
        untraced, traced = quantiles(drawn, 0.95)
        return traced / untraced

    return {
        f"{mode}_p95_ratio": bootstrap(pairs, ratio, count=requests_a_side(pairs), unit="ratio"),
        **added_latency(f"{mode}_p95", pairs, 0.95),
    }


async def _memory(server: Server, requests: int) -> Memory:
    """Ask as fast as it goes, and look at the memory now and then."""
    step = max(1, requests // SAMPLES)
    seen: list[int] = []
    rss_bytes: list[int] = []
    for first in range(0, requests, step):
        chats = _chats(first, min(step, requests - first))
        await ask_each(server.port, chats, CLIENTS)
        seen.append(first + len(chats))
        rss_bytes.append(server.process.memory_info().rss)
    return Memory(seen, rss_bytes)


async def _spans_a_chat(server: Server, sink: Server) -> float:
    """Count the spans that arrive for a few chats, with nothing in their way."""
    await ask_each(server.port, _chats(0, PROBE_CHATS), CLIENTS)
    account = await still(_reader(server))
    if account.dropped or account.queued:
        raise RuntimeError(f"spans were lost though Langfuse took them: {account}")
    received = (await asyncio.to_thread(counts_of, sink)).spans
    return received / PROBE_CHATS


def _reader(server: Server) -> Read:
    return partial(asyncio.to_thread, scrape, server)


def _accounted(mode: str, started: int, account: Account) -> Estimates:
    figures = {
        "started": started,
        "exported": account.exported,
        "dropped": account.dropped,
        "unaccounted": abs(started - account.exported - account.dropped),
    }
    return {
        f"{mode}_spans_{name}": exactly(spans, started, "spans") for name, spans in figures.items()
    }


def _chats(first: int, count: int) -> list[bytes]:
    """Write light chats: each a session of its own and one LLM call."""
    return [
        post("/api/chat", patient_llm.question("none", number))
        for number in range(first, first + count)
    ]


def _slope(steps: Sequence[tuple[int, int]]) -> float:
    """Fit a line through what was measured after the warm-up: bytes a request."""
    after = [step for step in steps if step[0] >= steps[-1][0] * WARM_UP_SHARE]
    requests, rss_bytes = zip(*after, strict=True)
    return statistics.linear_regression(requests, rss_bytes).slope


def _print_tables(estimates: Estimates, modes: Sequence[str]) -> None:
    print_machine({})
    print_table(
        f"p95 of a light chat at {RATE:.0f} requests/s, to tracing off (95 % intervals)",
        ("Langfuse", "ratio", "added ms"),
        [
            (
                mode,
                str(estimates[f"{mode}_p95_ratio"]),
                f"{estimates[f'{mode}_p95_added_seconds'].value * 1e3:.2f}",
            )
            for mode in modes
        ],
    )
    requests = estimates[f"{OFF}_rss_bytes"].count
    print_table(
        f"Memory over {requests} requests, after 40 % of them",
        ("Langfuse", "KiB for 1,000 requests", "MiB at the end"),
        [
            (
                "tracing off" if mode == OFF else mode,
                f"{estimates[f'{mode}_rss_slope_bytes'].value / 1024:.1f}",
                f"{estimates[f'{mode}_rss_bytes'].value / (1 << 20):.1f}",
            )
            for mode in (OFF, *modes)
        ],
    )
    print_table(
        "Spans",
        ("Langfuse", "started", "exported", "dropped", "unaccounted"),
        [
            (
                mode,
                *(
                    f"{estimates[f'{mode}_spans_{name}'].value:.0f}"
                    for name in ("started", "exported", "dropped", "unaccounted")
                ),
            )
            for mode in modes
        ],
    )
    received = estimates["healthy_spans_received"].value
    print(f"Of the exported ones, {received:.0f} arrived at the healthy Langfuse")
    targets = [
        Target(f"{mode}_{name}", at_most=most) for name, most in BOUNDS.items() for mode in modes
    ]
    print_targets(flat(estimates), targets)


if __name__ == "__main__":
    main()
