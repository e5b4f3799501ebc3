"""The command that sends load; it imports nothing that only judging and reports need."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from harness import provenance
from harness.cli.price_book import needed_price_book, price_book
from harness.cli.running import Load, UsageError, chosen, promised, run_scenarios, scenario_names
from harness.runs import RunDirectory
from harness.slo import load_slo

INTERRUPTED = 3


def run(options: Namespace) -> int:
    """Send load to a target and gather evidence."""
    console = Console()
    target = options.host.rstrip("/")
    directory = send(options, console, target, provenance.stack_of(target))
    console.print(f"\nevidence: {shown(directory.path)}")
    console.print(f"next:     harness judge {shown(directory.path)}", highlight=False)
    return INTERRUPTED if directory.read_run().interrupted else 0


def send(
    options: Namespace,
    console: Console,
    target: str,
    known: provenance.Stack,
    prepared: Callable[[RunDirectory], None] = lambda _: None,
) -> RunDirectory:
    """Run the scenarios asked for, saying how far it is; gives the run directory."""
    begin = time.monotonic()

    def say(text: str) -> None:
        console.print(
            f"[dim]{time.monotonic() - begin:5.0f} s[/dim]  {escape(text)}",
            highlight=False,
            soft_wrap=True,
        )

    scenarios = asked(options)
    prices = (
        price_book(options.prices)
        if options.budget_usd is None
        else needed_price_book(options.prices, "--budget-usd")
    )
    return run_scenarios(
        target,
        scenarios,
        folder=options.scenarios,
        reports=options.reports,
        slo_path=options.slo,
        prices_path=prices,
        stack=known,
        load=_load(options),
        command=options.command_line,
        say=say,
        prepared=prepared,
    )


def asked(options: Namespace) -> tuple[str, ...]:
    """Give the scenarios to run; without any named, those that something is promised about."""
    known = scenario_names(options.scenarios)
    if options.scenario:
        return chosen(tuple(options.scenario), known)
    return promised(load_slo(options.slo, known), known)


def shown(path: Path) -> str:
    """Write a path as seen from here."""
    return os.path.relpath(path)


def _load(options: Namespace) -> Load:
    workers = getattr(options, "expect_workers", None)
    if workers is None:
        return Load(
            options.duration,
            options.processes,
            max_requests=options.max_requests,
            budget_usd=options.budget_usd,
        )
    if options.processes > 1:
        raise UsageError(
            "--processes are on this machine and --expect-workers on others; give one of them"
        )
    return Load(
        options.duration,
        workers,
        max_requests=options.max_requests,
        budget_usd=options.budget_usd,
        master=(options.master_bind_host, options.master_bind_port),
    )
