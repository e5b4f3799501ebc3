"""
The command line: the only place where the parts are wired together.

Exit codes: 0 all gates met, 1 a gate missed, 2 usage or configuration error,
3 inconclusive.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from harness.model import HarnessError
from harness.provenance import shown_command

USAGE_ERROR = 2
_MODULES = {"scrape": "witnesses", "collect": "witnesses"}

_EXAMPLES = """
examples:
  harness benchmark                       everything on the embedded stack, then the report
  harness benchmark --fault metrics-lie   the same with a lying server: exit code 3
  harness run --host http://127.0.0.1:8000 warm_cache
  harness judge reports/latest --slo other.yaml
  harness report reports/latest
  harness stack                           keep the embedded stack up, for locust -f scenarios

exit codes:
  0  all gates met          2  usage or configuration error (no load was sent)
  1  a gate was missed      3  inconclusive: evidence is missing, too little, or contradictory

A run is a directory in reports/. run writes evidence into it, judge writes
verdicts.json from that evidence and a slo.yaml, report draws the pages.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    options = _parser().parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is not signal.SIG_IGN:  # nohup keeps its meaning
            signal.signal(ending, _like_ctrl_c)
    _reach_this_machine_directly()
    words = ["harness", *(sys.argv[1:] if arguments is None else arguments)]
    options.command_line = shown_command(words)
    # Imported only now, so that --help and the commands beside a load start at once.
    module = import_module(f"harness.cli.{_MODULES.get(options.command, 'commands')}")
    try:
        return int(getattr(module, options.command)(options))
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("harness: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"harness: {error}", file=sys.stderr)
        return USAGE_ERROR
    except Exception as error:  # noqa: BLE001 - exit code 1 would read as a missed gate
        Path("harness-error.log").write_text(traceback.format_exc(), encoding="utf-8")
        print(
            f"harness: a fault of the harness itself: {type(error).__name__}: {error}; "
            "harness-error.log holds the details",
            file=sys.stderr,
        )
        return USAGE_ERROR


def _reach_this_machine_directly() -> None:
    """Keep a proxy of the user's out of what is measured; all parts inherit this."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1", "localhost")))


def _like_ctrl_c(*_: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness",
        description="Does an LLM agent app keep its promises, and do its dashboards tell the "
        "truth? Drives it with load, reconciles what clients, Prometheus metrics and Langfuse "
        "saw, and judges it by slo.yaml.",
        epilog=textwrap.dedent(_EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    benchmark = commands.add_parser(
        "benchmark", help="start the embedded stack, run, judge, report: everything in one go"
    )
    _running(benchmark)
    from harness.stack.faults import FAULTS  # noqa: PLC0415

    faults = "; ".join(f"{name}: {fault.says}" for name, fault in FAULTS.items())
    benchmark.add_argument(
        "--fault",
        choices=tuple(FAULTS),
        metavar="FAULT",
        help=f"build a fault in ({faults.replace('%', '%%')})",
    )

    run = commands.add_parser("run", help="send load to a target and gather evidence")
    run.add_argument("--host", required=True, help="address of the target, as http://host:port")
    _running(run)

    judge = commands.add_parser("judge", help="judge a run's evidence; needs no server")
    judge.add_argument("run", type=Path, help="a run directory, such as reports/latest")
    judge.add_argument("--slo", type=Path, help="promises to judge by (default: the run's own)")
    judge.add_argument("--prices", type=Path, help="price book (default: the run's own)")

    report = commands.add_parser("report", help="draw the pages from verdicts.json")
    report.add_argument("run", type=Path, help="a run directory, such as reports/latest")

    stack = commands.add_parser("stack", help="keep the embedded stack up until Ctrl-C")
    stack.add_argument("--port", type=int, default=0, help="port of the target (default: free)")
    stack.add_argument("--prices", type=Path, default=Path("prices.yaml"))

    scrape = commands.add_parser("scrape", help="keep one scrape in a run (used by the load)")
    scrape.add_argument("run", type=Path)
    scrape.add_argument("window")
    scrape.add_argument("which", choices=("before", "after"))
    scrape.add_argument("--target", required=True)

    collect = commands.add_parser("collect", help="read a run's traces from Langfuse")
    collect.add_argument("run", type=Path)
    return parser


def _running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenario", nargs="*", help="scenarios to run, one after the other (default: all)"
    )
    parser.add_argument("--slo", type=Path, default=Path("slo.yaml"), help="what is promised")
    parser.add_argument("--prices", type=Path, default=Path("prices.yaml"), help="price book")
    parser.add_argument("--scenarios", type=Path, default=Path("scenarios"), help="their folder")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of all runs")
    parser.add_argument(
        "--duration", default="", help="send for this long per scenario, instead of its own"
    )
