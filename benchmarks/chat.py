"""
How fast `/api/chat` answers when the LLM answers at once, against the floor.

    python benchmarks/chat.py [--json] [--quick]

The floor, the app and the app with tracing are processes of their own. They are asked in turn, in
short blocks, forwards and backwards, all through the run: whatever else the machine does falls on
each of them. A ratio is the app's median rate over the floor's. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import httpx
import uvloop
from closed_loop import ask_for, ask_times, post
from corpus import make_corpus
from figures import (
    Figures,
    Target,
    print_json,
    print_machine,
    print_table,
    print_targets,
    quantile,
)
from instant_llm import PLANS, PROMPTS, question
from profiles import check_plan
from servers import Server, Used, serving, wait_until_ready

CLIENTS = (1, 8, 32)
TRACED_CLIENTS = 8
PREFIXES = {"none": "", "plan": "plan_"}
"""How the keys of a plan begin."""

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

HANG_UP_SECONDS = 0.2
"""Long enough for a server to see that a client has gone."""

TARGETS = (
    Target("floor_ratio_c8", at_least=0.7),
    Target("plan_floor_ratio_c8", at_least=0.5),
    Target("open_files_growth", at_most=0),
)


@dataclass(frozen=True, slots=True)
class Running:
    """The servers that are measured, and the LLM they all ask."""

    floor: Server
    app: Server
    traced: Server
    llm: Server


@dataclass(slots=True)
class Seen:
    """What was measured of one server with one plan and one number of clients."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    server_cpu: float = 0.0
    client_cpu: float = 0.0
    llm_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Requests a second: the median over the blocks."""
        return statistics.median(self.rates)

    @property
    def cpu_a_request(self) -> float:
        """CPU seconds of the server and its children for one request."""
        return self.server_cpu / len(self.latencies)


Measured = dict[tuple[str, str, int], Seen]
"""By the name of the server, the plan and the number of clients."""


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as made, _running(Path(made), options.files) as running:
        growth, measured = uvloop.run(_measure(running, options))
    figures = _figures(measured) | growth
    if options.json:
        print_json(figures)
    else:
        _print_tables(measured, figures)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure /api/chat against the floor.")
    parser.add_argument("--json", action="store_true", help="print one flat object")
    parser.add_argument("--quick", action="store_true", help="about half a minute; rough figures")
    parser.add_argument("--rounds", type=int, help="rounds over everything (5)")
    parser.add_argument("--seconds", type=float, help="length of one block (0.5)")
    parser.add_argument(
        "--requests", type=int, help="requests after which files must be as before (2000)"
    )
    parser.add_argument(
        "--rest", type=float, default=5.5, help="seconds until idle connections expire (5.5)"
    )
    parser.add_argument("--files", type=int, default=2000, help="documents (2000)")
    options = parser.parse_args()
    usual = (1, 0.25, 400) if options.quick else (5, 0.5, 2000)
    for name, value in zip(("rounds", "seconds", "requests"), usual, strict=True):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


@contextmanager
def _running(folder: Path, files: int) -> Iterator[Running]:
    """Start everything, and check that the app follows the plans."""
    documents = make_corpus(folder / "documents", files, files * 15_000).folder
    prompts = folder / "prompts.json"
    with ExitStack() as stack:

        def start(name: str, app: str, **settings: str) -> Server:
            return stack.enter_context(serving(name, app, settings, folder))

        llm = start("llm", "instant_llm:create_app")
        sink = start("sink", "instant_llm:create_app")
        asked = {"OPENAI_API_KEY": "unused", "OPENAI_BASE_URL": llm.url("/v1")}
        shared = {**asked, "OPENAI_MODEL": "instant", "DATA_ROOT_PATH": str(documents)}
        tracing = {
            "LANGFUSE_ENABLED": "true",
            "LANGFUSE_HOST": sink.url(""),
            "LANGFUSE_PUBLIC_KEY": "pk-lf-unused",
            "LANGFUSE_SECRET_KEY": "sk-lf-unused",
        }
        target = "target_app.main:create_app"
        app = start("app", target, **shared, CACHE_DIRECTORY=str(folder / "cache"))
        traced = start(
            "traced", target, **shared, **tracing, CACHE_DIRECTORY=str(folder / "traced_cache")
        )
        for server in (llm, sink, app, traced):
            wait_until_ready(server, folder)
        for plan in PLANS:
            check_plan(app, plan, question(plan))
        prompts.write_bytes(httpx.get(llm.url("/prompts"), trust_env=False).content)
        floor = start("floor", "floor:create_app", **asked, **{PROMPTS: str(prompts)})
        wait_until_ready(floor, folder)
        yield Running(floor, app, traced, llm)


async def _measure(running: Running, options: argparse.Namespace) -> tuple[Figures, Measured]:
    for server in (running.floor, running.traced, running.app):
        await _ask_every_plan(server, options.requests // 10)
    growth = await _growth(running.app, options.requests, options.rest)
    measured: Measured = defaultdict(Seen)
    for _ in range(options.rounds):
        for plan in PLANS:
            for clients in CLIENTS:
                servers = [running.floor, running.app]
                if clients == TRACED_CLIENTS:
                    servers.append(running.traced)
                for server in (*servers, *reversed(servers)):
                    seen = measured[server.name, plan, clients]
                    await _add_block(seen, server, running.llm, plan, clients, options.seconds)
    return growth, measured


async def _growth(app: Server, requests: int, rest_seconds: float) -> Figures:
    """Ask many times, and see what the app holds at rest before and after."""
    before = await _at_rest(app, rest_seconds)
    await _ask_every_plan(app, requests)
    after = await _at_rest(app, rest_seconds)
    return {
        "open_files_before": before.open_files,
        "open_files_after": after.open_files,
        "open_files_growth": after.open_files - before.open_files,
        "rss_before_bytes": before.rss_bytes,
        "rss_after_bytes": after.rss_bytes,
    }


async def _at_rest(app: Server, rest_seconds: float) -> Used:
    """Wait until the SDK counts its idle connections as expired; it closes them at a call."""
    await asyncio.sleep(rest_seconds)
    await ask_times(app.port, _request("none"), clients=1, times=1)
    await asyncio.sleep(HANG_UP_SECONDS)
    return app.used()


async def _ask_every_plan(server: Server, requests: int) -> None:
    for plan in PLANS:
        await ask_times(server.port, _request(plan), TRACED_CLIENTS, requests // len(PLANS))


async def _add_block(
    seen: Seen, server: Server, llm: Server, plan: str, clients: int, seconds: float
) -> None:
    server_before, llm_before = server.used(), llm.used()
    client_before = time.process_time()
    block = await ask_for(server.port, _request(plan), clients, seconds)
    seen.client_cpu += time.process_time() - client_before
    seen.server_cpu += server.used().cpu_seconds - server_before.cpu_seconds
    seen.llm_cpu += llm.used().cpu_seconds - llm_before.cpu_seconds
    seen.rates.append(block.rate)
    seen.latencies += block.latencies
    seen.elapsed += block.elapsed


def _request(plan: str) -> bytes:
    return post("/api/chat", question(plan))


def _figures(measured: Measured) -> Figures:
    figures: Figures = {}
    for (server, plan, clients), seen in measured.items():
        prefix, suffix = PREFIXES[plan], f"{server}_c{clients}"
        figures[f"{prefix}rps_{suffix}"] = seen.rate
        for name, share in QUANTILES.items():
            figures[f"{prefix}{name}_{suffix}_seconds"] = quantile(seen.latencies, share)
        figures[f"{prefix}cpu_{suffix}_seconds"] = seen.cpu_a_request
        figures[f"{prefix}client_busy_{suffix}"] = seen.client_cpu / seen.elapsed
        figures[f"{prefix}llm_busy_{suffix}"] = seen.llm_cpu / seen.elapsed
        if server != "floor":
            floor = measured["floor", plan, clients]
            traced = "traced_" if server == "traced" else ""
            name = f"{traced}{prefix}floor_ratio_c{clients}"
            figures[name] = seen.rate / floor.rate
            name = f"{traced}{prefix}floor_cpu_ratio_c{clients}"
            figures[name] = floor.cpu_a_request / seen.cpu_a_request
    return figures


def _print_tables(measured: Measured, figures: Figures) -> None:
    print_machine({"openai SDK": version("openai")})
    for plan, turns in PLANS.items():
        rows = [
            _row(measured, server, plan, clients)
            for clients in CLIENTS
            for server in ("floor", "app", "traced")
            if (server, plan, clients) in measured
        ]
        print_table(
            f"/api/chat, {len(turns) + 1} LLM calls",
            ("", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "rate", "CPU"),
            rows,
        )
    print("rate and CPU (the server's, a request): against the floor, 1 is as good as the floor")
    mebibyte = 1 << 20
    print(
        f"\nThe app before and after many requests: "
        f"{figures['open_files_before']:.0f} and {figures['open_files_after']:.0f} open files, "
        f"{figures['rss_before_bytes'] / mebibyte:.0f} and "
        f"{figures['rss_after_bytes'] / mebibyte:.0f} MiB resident"
    )
    busiest = max(measured.values(), key=lambda seen: seen.client_cpu / seen.elapsed)
    print(
        f"At the highest rate, {busiest.rate:.0f} requests/s, the clients were busy "
        f"{busiest.client_cpu / busiest.elapsed:.0%} of the time and the LLM "
        f"{busiest.llm_cpu / busiest.elapsed:.0%}"
    )
    print_targets(figures, TARGETS)


def _row(measured: Measured, server: str, plan: str, clients: int) -> tuple[str, ...]:
    seen, floor = measured[server, plan, clients], measured["floor", plan, clients]
    return (
        server,
        str(clients),
        f"{seen.rate:.0f}",
        *(f"{quantile(seen.latencies, share) * 1000:.1f}" for share in QUANTILES.values()),
        f"{seen.cpu_a_request * 1000:.2f}",
        f"{seen.rate / floor.rate:.2f}",
        f"{floor.cpu_a_request / seen.cpu_a_request:.2f}",
    )


if __name__ == "__main__":
    main()
