"""One function per command: options in, exit code out."""

from __future__ import annotations

import os
import tempfile
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import provenance
from harness.cli.judging import judge_run
from harness.cli.price_book import needed_price_book, price_book
from harness.cli.run import INTERRUPTED, asked, send, shown
from harness.cli.running import scenario_names
from harness.cli.terminal import print_verdicts
from harness.evidence.benchmarks import FOLDER, read_benchmarks
from harness.report import remove_report, write_report
from harness.runs import RunDirectory, open_run
from harness.slo import load_slo
from harness.stack.faults import FAULTS, NO_FAULT
from harness.stack.supervisor import RunningStack, StackError, running_stack

_STACK = Path(".stack")


def judge(options: Namespace) -> int:
    """Judge a run by its own promises, or by others."""
    directory = open_run(options.run)
    verdicts = judge_run(
        directory,
        _own(options.slo, directory, "slo.yaml"),
        price_book(options.prices, directory.path / "prices.yaml"),
    )
    console = Console()
    print_verdicts(verdicts, console)
    draw = f"harness report {shown(directory.path)}"
    said = (
        f"pages of the earlier judgement removed; draw new ones with: {draw}"
        if remove_report(directory.path)  # it says what an earlier judgement said
        else f"next: {draw}"
    )
    console.print(f"\n{said}", highlight=False, soft_wrap=True)
    return int(verdicts["exit_code"])


def report(options: Namespace) -> int:
    """Draw the pages of a judged run."""
    path = write_report(open_run(options.run).path)
    Console().print(f"report: {shown(path)}")
    return 0


def benchmark(options: Namespace) -> int:
    """Start the embedded stack, run, judge and report, and stop the stack."""
    console = Console()
    fault = FAULTS[options.fault] if options.fault else NO_FAULT
    # Bad promises, prices, figures or scenarios are refused before anything is started.
    slo = load_slo(options.slo, scenario_names(options.scenarios))
    options.prices = needed_price_book(options.prices, "the embedded stack")
    read_benchmarks(slo.benchmarks, options.reports / FOLDER)
    asked(options)
    if options.fault:
        console.print(f"fault built in: {fault.says}")
    made: list[RunDirectory] = []
    options.reports.mkdir(parents=True, exist_ok=True)
    # Beside the runs, since a log can only be linked within one file system.
    with tempfile.TemporaryDirectory(prefix=".stack-", dir=options.reports) as folder:
        logs = Path(folder)
        try:
            console.print("starting the embedded stack")
            with running_stack(logs, _STACK / "documents", options.prices, fault) as stack:
                _announce(stack, console)

                def prepared(directory: RunDirectory) -> None:
                    made.append(directory)
                    _keep_logs(logs, directory)
                    if fault.loses:
                        stack.lose(fault.loses)

                directory = send(options, console, stack.target, stack.stack, prepared)
        except KeyboardInterrupt:
            if not made:
                console.print("interrupted before any load was sent; nothing is left running")
                return INTERRUPTED
            directory = made[0]
            directory.write_run(replace(directory.read_run(), interrupted=True))
    return _conclude(directory, console)


def stack(options: Namespace) -> int:
    """Keep the embedded stack up until Ctrl-C, and say how to use it."""
    console = Console(highlight=False)
    logs = _STACK / "logs"
    prices = needed_price_book(options.prices, "the embedded stack")
    with running_stack(logs, _STACK / "documents", prices, port=options.port) as up:
        provenance.write_stack(up.target, provenance.Stack(up.stack.parts, _standin_keys(up)))
        _announce(up, console)
        keys = "\n".join(f"  export {k}={v}" for k, v in _standin_keys(up).items())
        console.print(
            f"\n  logs      {logs}\n\nnow, in another terminal:\n\n"
            f"  locust -f scenarios/warm_cache.py --headless -u 6 -r 6 -t 20s --host {up.target}\n"
            f"  locust -f scenarios --headless -u 6 -r 6 -t 20s --host {up.target}\n"
            f"  locust -f scenarios --host {up.target}          (web UI on port 8089)\n"
            f"  harness run --host {up.target}\n\n"
            + (
                f"the Langfuse stand-in takes an app of your own, too:\n\n{keys}\n\n"
                if keys
                else ""
            )
            + "Ctrl-C stops it.",
            soft_wrap=True,
        )
        try:
            while all(service.process.poll() is None for service in up.services):
                time.sleep(0.5)
        except KeyboardInterrupt:
            console.print("stopping")
            return 0
        finally:
            provenance.forget_stack(up.target)
        ended = next(s for s in up.services if s.process.poll() is not None)
        raise StackError(f"{ended.name} ended by itself; see {ended.log}")


def _keep_logs(logs: Path, directory: RunDirectory) -> None:
    """Give the stack's logs their place in the run, while they are still written."""
    for log in logs.iterdir():
        os.link(log, directory.logs / log.name)


def _conclude(directory: RunDirectory, console: Console) -> int:
    verdicts: dict[str, Any] = judge_run(
        directory, directory.path / "slo.yaml", directory.path / "prices.yaml"
    )
    page = write_report(directory.path)
    latest = directory.path.parent / "latest" / page.name
    print_verdicts(verdicts, console)
    console.print(
        f"\nreport: {shown(page)}  (also {shown(latest)})",
        highlight=False,
        soft_wrap=True,
    )
    return int(verdicts["exit_code"])


def _standin_keys(up: RunningStack) -> dict[str, str]:
    """How to reach the traces of the stand-in; the keys of a real Langfuse stay in memory."""
    real = any(part.name == "Langfuse" and part.real for part in up.stack.parts)
    return {} if real else up.stack.environment


def _announce(up: RunningStack, console: Console) -> None:
    for name, where in (("target", up.target), ("LLM", up.llm), ("Langfuse", up.langfuse)):
        part = next(p for p in up.stack.parts if p.name == name)
        kind = "real" if part.real else "stand-in"
        console.print(
            f"  {name:<9} {where}  ({kind}: {part.description})", highlight=False, soft_wrap=True
        )


def _own(given: Path | None, directory: RunDirectory, name: str) -> Path:
    """The file given, or the run's own copy, or the one in this folder."""
    own = directory.path / name
    return given or (own if own.exists() else Path(name))
