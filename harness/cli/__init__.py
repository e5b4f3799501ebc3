"""
The command line: the only place where the parts are wired together.

Exit codes: 0 all gates met, 1 a gate missed, 2 usage or configuration error,
3 inconclusive.
"""

from __future__ import annotations

import argparse
import signal
import sys
import textwrap
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from harness.load.options import amount, count, duration
from harness.model import HarnessError
from harness.provenance import shown_command
from harness.proxies import reach_this_machine_directly

USAGE_ERROR = 2
_MODULES = {"run": "run", "collect": "witnesses"}

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
    reach_this_machine_directly()
    words = ["harness", *(sys.argv[1:] if arguments is None else arguments)]
    options.command_line = shown_command(words)
    # Imported only now, so that --help and the command beside a load start at once.
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
    run.add_argument(
        "--expect-workers",
        type=count,
        metavar="N",
        help="let N load processes on other machines send it: locust -f scenarios --worker "
        "--master-host THIS_MACHINE",
    )
    run.add_argument(
        "--master-bind-host", default="*", metavar="ADDRESS", help="where they reach this machine"
    )
    run.add_argument("--master-bind-port", type=count, default=5557, metavar="PORT")

    judge = commands.add_parser("judge", help="judge a run's evidence; needs no server")
    judge.add_argument("run", type=Path, help="a run directory, such as reports/latest")
    judge.add_argument("--slo", type=Path, help="promises to judge by (default: the run's own)")
    judge.add_argument("--prices", type=Path, help="price book (default: the run's own)")

    report = commands.add_parser("report", help="draw the pages from verdicts.json")
    report.add_argument("run", type=Path, help="a run directory, such as reports/latest")

    stack = commands.add_parser("stack", help="keep the embedded stack up until Ctrl-C")
    stack.add_argument("--port", type=int, default=0, help="port of the target (default: free)")
    stack.add_argument("--prices", type=Path, help="price book (default: prices.yaml)")

    collect = commands.add_parser("collect", help="read a run's traces from Langfuse")
    collect.add_argument("run", type=Path)
    return parser


def _running(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenario",
        nargs="*",
        help="scenarios to run, one after the other (default: those that slo.yaml promises about)",
    )
    parser.add_argument("--slo", type=Path, default=Path("slo.yaml"), help="what is promised")
    parser.add_argument(
        "--prices", type=Path, help="price book (default: prices.yaml, if there is one)"
    )
    parser.add_argument("--scenarios", type=Path, default=Path("scenarios"), help="their folder")
    parser.add_argument("--reports", type=Path, default=Path("reports"), help="folder of all runs")
    parser.add_argument(
        "--duration",
        type=duration,
        default="",
        help="send for this long per scenario, instead of its own, as 30s",
    )
    parser.add_argument(
        "--processes", type=count, default=1, metavar="N", help="send from N load processes here"
    )
    parser.add_argument(
        "--max-requests",
        type=count,
        metavar="N",
        help="send at most N requests in the whole run, warm-ups included",
    )
    parser.add_argument(
        "--budget-usd",
        type=amount,
        metavar="USD",
        help="stop sending before the tokens of all answers, warm-ups included, cost more than "
        "this by prices.yaml",
    )
