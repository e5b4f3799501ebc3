"""
What observability costs: latency, processor time and bytes of each profile against `off`.

    python benchmarks/observability.py [--json] [--quick] [--output FILE]

Two processes of the app, one in the profile off, answer the same questions in turns, A B B A, at a
fixed rate. Then what a scrape costs after many
requests, and within this process what the metrics alone cost. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import patient_llm
import uvloop
from closed_loop import ask_each, post
from corpus import Corpus, make_corpus
from estimates import Estimate, bootstrap, exactly, flat, write_estimates
from figures import Target, print_json, print_machine, print_table, print_targets
from in_process import measure_metrics, measure_middleware
from otlp_sink import Counts
from profiles import (
    METRICS,
    OFF,
    PROFILES,
    ObservedApp,
    check_plan,
    observed_apps,
    scrape,
)
from scraping import measure_scrapes
from servers import BESIDE, Server, serving, wait_until_ready
from side_by_side import Pace, Pair, added_cpu, added_latency, compare, requests_a_side
from stored_spans import store_spans

MIX = ("plan", "plan", "none")
"""Two chats of three want four LLM calls and four tools, the third wants none."""

RATE = 25.0
"""Chats a second. The app, the LLM and the clients share the machine."""

LLM_SECONDS = "0.05,0.15"
AT_ONCE = "0,0"
REST_SECONDS = 1.3
"""Longer than the app keeps spans before it sends them."""

CLIENTS = 8
OUTPUT = BESIDE.parent / "reports" / "benchmarks" / "observability.json"

TARGETS = (
    Target("ai_p95_added", at_most=0.05),
    Target("metrics_cpu_share", at_most=0.01),
    Target("scrape_seconds", at_most=0.05),
    Target("scrape_growth", at_most=1),
    Target("middleware_cpu_ratio", at_most=1.2),
)

Estimates = dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class LLMs:
    """Two simulated LLMs: one takes its time, the other answers at once."""

    patient: Server
    instant: Server


def main() -> None:
    """Measure, write the figures and print them."""
    options = _options()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        corpus = make_corpus(folder / "documents", options.files, options.files * 15_000)
        estimates = _measure(options, corpus, folder)
    if options.output is not None:
        # Rough figures are written only where they are asked for: reports judge what is there.
        write_estimates(options.output, "observability", estimates)
    if options.json:
        print_json(flat(estimates))
    else:
        _print_tables(estimates, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what observability costs.")
    parser.add_argument("--json", action="store_true", help="print one flat object")
    parser.add_argument("--quick", action="store_true", help="under 3 minutes; rough figures")
    parser.add_argument(
        "--output", type=Path, help="the figures file (reports/benchmarks/observability.json)"
    )
    parser.add_argument("--files", type=int, default=2000, help="documents (2000)")
    parser.add_argument("--pairs", type=int, help="pairs of blocks a profile (8)")
    parser.add_argument("--chats", type=int, help="chats a block (60)")
    parser.add_argument("--requests", type=int, help="requests before the scrapes (10000)")
    parser.add_argument("--scrapes", type=int, help="scrapes that are timed (100)")
    parser.add_argument("--rounds", type=int, help="pairs of rounds within this process (150)")
    parser.add_argument("--rate", type=float, default=RATE, help=f"chats a second ({RATE:g})")
    parser.add_argument("--rest", type=float, default=REST_SECONDS, help="seconds after a block")
    options = parser.parse_args()
    usual = (2, 24, 2000, 20, 40) if options.quick else (8, 60, 10_000, 100, 150)
    if options.output is None and not options.quick:
        options.output = OUTPUT
    names = ("pairs", "chats", "requests", "scrapes", "rounds")
    for name, value in zip(names, usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _measure(options: argparse.Namespace, corpus: Corpus, folder: Path) -> Estimates:
    estimates: Estimates = {}
    with _llms(folder) as llms:
        for profile in PROFILES:
            estimates |= _profile(profile, options, llms, corpus, folder)
        estimates |= _scrapes(options, llms, corpus, folder)
        # Last, because it takes the environment of this process away.
        estimates |= uvloop.run(
            measure_metrics(llms.instant, corpus.folder, folder, options.rounds, len(MIX) * 2)
        )
        added = estimates["metrics_cpu_seconds"]
        estimates["metrics_processor_share"] = replace(
            added, value=added.value * options.rate, low=added.low * options.rate,
            high=added.high * options.rate, unit="ratio",
        )  # fmt: skip
        estimates |= uvloop.run(measure_middleware(options.rounds, 100))
    return estimates


@contextmanager
def _llms(folder: Path) -> Iterator[LLMs]:
    factory = "patient_llm:create_app"
    with (
        serving("llm", factory, {patient_llm.SECONDS: LLM_SECONDS}, folder) as patient,
        serving("instant_llm", factory, {patient_llm.SECONDS: AT_ONCE}, folder) as instant,
    ):
        for server in (patient, instant):
            wait_until_ready(server, folder)
        yield LLMs(patient, instant)


def _profile(
    profile: str, options: argparse.Namespace, llms: LLMs, corpus: Corpus, folder: Path
) -> Estimates:
    """Compare one profile with off, in processes of their own."""
    place = folder / profile
    place.mkdir()
    with observed_apps((OFF, profile), llms.patient, corpus.folder, place) as apps:
        off, on = apps[OFF], apps[profile]
        for app in (off, on):
            for plan in dict.fromkeys(MIX):
                check_plan(app.server, plan, patient_llm.question(plan, 0))
            uvloop.run(_warm_up(app.server, options))
        before = _told(on)
        pairs = uvloop.run(
            compare(
                {"off": off.server, "on": on.server},
                lambda pair: _questions(pair * options.chats, options.chats),
                options.pairs,
                Pace(options.rate, options.rest),
            )
        )
        after = _told(on)
        scraped = len(scrape(on.server).encode())
    chats = options.pairs * options.chats
    return {
        **_added(profile, pairs),
        **_bytes(profile, before, after, chats),
        f"{profile}_scrape_bytes": exactly(scraped, 1, "bytes"),
        **(_rows(profile, on, place) if profile == "ai" else {}),
    }


async def _warm_up(app: Server, options: argparse.Namespace) -> None:
    """Fill the caches, open the connections that the app keeps, and let the spans go."""
    await ask_each(app.port, _questions(0, options.chats), CLIENTS)
    await asyncio.sleep(options.rest)


def _questions(first: int, count: int) -> Sequence[bytes]:
    return [
        post("/api/chat", patient_llm.question(MIX[number % len(MIX)], number))
        for number in range(first, first + count)
    ]


@dataclass(frozen=True, slots=True)
class Told:
    """What an app told so far."""

    spans: Counts
    log_bytes: int


def _told(app: ObservedApp) -> Told:
    return Told(app.sent(), app.log_bytes())


def _added(profile: str, pairs: Sequence[Pair]) -> Estimates:
    return {
        **added_latency(f"{profile}_p50", pairs, 0.5),
        **added_latency(f"{profile}_p95", pairs, 0.95),
        **added_cpu(f"{profile}_cpu", pairs),
        f"{profile}_off_cpu_seconds": bootstrap(
            pairs,
            lambda drawn: sum(pair.off.cpu_a_request for pair in drawn) / len(drawn),
            count=requests_a_side(pairs),
            unit="seconds",
        ),
    }


def _bytes(profile: str, before: Told, after: Told, chats: int) -> Estimates:
    """Tell the bytes of one chat, by where they went."""

    def a_chat(total: int, unit: str) -> Estimate:
        return exactly(total / chats, chats, unit)

    return {
        f"{profile}_spans": a_chat(after.spans.spans - before.spans.spans, "spans"),
        f"{profile}_wire_bytes": a_chat(after.spans.body_bytes - before.spans.body_bytes, "bytes"),
        f"{profile}_plain_bytes": a_chat(
            after.spans.plain_bytes - before.spans.plain_bytes, "bytes"
        ),
        f"{profile}_log_bytes": a_chat(after.log_bytes - before.log_bytes, "bytes"),
    }


def _rows(profile: str, app: ObservedApp, folder: Path) -> Estimates:
    """Store the spans as Langfuse would; traces of the warm-up are among them, and alike."""
    stored = store_spans(app.kept, folder / "langfuse.sqlite")
    return {
        f"{profile}_row_bytes": exactly(stored.file_bytes / stored.rows, stored.rows, "bytes"),
    }


def _scrapes(options: argparse.Namespace, llms: LLMs, corpus: Corpus, folder: Path) -> Estimates:
    """Measure scrapes of an app that has metrics and nothing else."""
    place = folder / "scrapes"
    place.mkdir()
    with observed_apps((METRICS,), llms.instant, corpus.folder, place) as apps:
        return uvloop.run(
            measure_scrapes(apps[METRICS].server, corpus, options.requests, options.scrapes)
        )


def _print_tables(estimates: Estimates, options: argparse.Namespace) -> None:
    print_machine({})
    chats = options.pairs * options.chats
    print_table(
        f"Added to a chat by each profile, against off (95 % intervals; {chats} chats a side)",
        ("", "p50", "p95", "p95 ms", "CPU", "CPU ms"),
        [
            (
                profile,
                _percent(estimates[f"{profile}_p50_added"]),
                _percent(estimates[f"{profile}_p95_added"]),
                _milliseconds(estimates[f"{profile}_p95_added_seconds"]),
                _percent(estimates[f"{profile}_cpu_added"]),
                _milliseconds(estimates[f"{profile}_cpu_added_seconds"]),
            )
            for profile in PROFILES
        ],
    )
    print_table(
        "Told of one chat, bytes",
        ("", "spans", "sent, gzip", "sent, plain", "in SQLite", "in the log", "a scrape"),
        [
            (
                profile,
                f"{estimates[f'{profile}_spans'].value:.1f}",
                f"{estimates[f'{profile}_wire_bytes'].value:.0f}",
                f"{estimates[f'{profile}_plain_bytes'].value:.0f}",
                _stored(estimates, profile),
                f"{estimates[f'{profile}_log_bytes'].value:.0f}",
                f"{estimates[f'{profile}_scrape_bytes'].value:.0f}",
            )
            for profile in PROFILES
        ],
    )
    print_table(
        f"A scrape after {options.requests} requests",
        ("ms", "p95 ms", "CPU ms", "bytes", "series", "growth"),
        [
            (
                _milliseconds(estimates["scrape_seconds"]),
                _milliseconds(estimates["scrape_p95_seconds"]),
                _milliseconds(estimates["scrape_cpu_seconds"]),
                f"{estimates['scrape_bytes'].value:.0f}",
                f"{estimates['scrape_series'].value:.0f}",
                f"{estimates['scrape_growth'].value:.3f}",
            )
        ],
    )
    print_table(
        "Within one process, CPU of a request",
        ("", "ratio or share", "added us"),
        [
            (
                "middleware around a bare route",
                str(estimates["middleware_cpu_ratio"]),
                _microseconds(estimates["middleware_cpu_added_seconds"]),
            ),
            (
                "all metrics of a chat",
                _percent(estimates["metrics_cpu_share"]),
                _microseconds(estimates["metrics_cpu_seconds"]),
            ),
        ],
    )
    print(
        f"At {options.rate:g} chats/s, all metrics take "
        f"{estimates['metrics_processor_share'].value:.2%} of one processor"
    )
    print_targets(flat(estimates), TARGETS)


def _stored(estimates: Estimates, profile: str) -> str:
    """Say how much the rows of one chat take, where there are rows."""
    if f"{profile}_row_bytes" not in estimates:
        return "-"
    stored = estimates[f"{profile}_row_bytes"].value * estimates[f"{profile}_spans"].value
    return f"{stored:.0f}"


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:+.2%} ({estimate.low:+.2%} to {estimate.high:+.2%})"


def _milliseconds(estimate: Estimate) -> str:
    return f"{estimate.value * 1e3:.2f} ({estimate.low * 1e3:.2f} to {estimate.high * 1e3:.2f})"


def _microseconds(estimate: Estimate) -> str:
    return f"{estimate.value * 1e6:.1f} ({estimate.low * 1e6:.1f} to {estimate.high * 1e6:.1f})"


if __name__ == "__main__":
    main()
