"""Run scenarios one after the other: each in a Locust of its own, all into one run directory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from harness import provenance
from harness.evidence.benchmarks import FOLDER, read_benchmarks
from harness.evidence.collect import Langfuse, LangfuseError, collect
from harness.evidence.exposition import ExpositionError, parse, unknown_label
from harness.evidence.scrape import metrics_url, scrape
from harness.model import HarnessError
from harness.prices import load_prices
from harness.provenance import Stack, wrong_address
from harness.runs import RunDirectory
from harness.slo import Slo, load_slo

_TICK_SECONDS = 0.2
_NEWS_SECONDS = 10.0
_STOP_SECONDS = 180.0

Say = Callable[[str], None]


class UsageError(HarnessError):
    """What the user asked for that cannot be done, and the mend, in one sentence."""


def scenario_names(folder: Path) -> tuple[str, ...]:
    """Names of all scenarios in a folder: its Python files, but for those with an underscore."""
    names = tuple(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")))
    if not names:
        raise UsageError(f"there is no scenario in {folder}; give a folder with --scenarios")
    return names


def chosen(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Check the scenarios asked for; all of them when none is named."""
    for name in names:
        if name not in known:
            raise UsageError(f"no scenario is named {name!r}; known: {', '.join(known)}")
        if names.count(name) > 1:
            raise UsageError(f"{name} is named twice; a run holds each scenario once")
    return names or known


def preflight(target: str, slo: Slo, environment: Mapping[str, str], say: Say) -> None:
    """Ask every witness once, before any load; raises UsageError when one cannot testify."""
    if problem := wrong_address(target):
        raise UsageError(f"--host: {problem}")
    if "metrics" in slo.witnesses:
        _ask_metrics(target, slo, environment, say)
    if "langfuse" in slo.witnesses:
        try:
            Langfuse.connect(environment).check()
        except LangfuseError as error:
            raise UsageError(
                f"the langfuse witness cannot testify: {error}; mend that, or ask nothing of "
                "langfuse in slo.yaml"
            ) from error


def _ask_metrics(target: str, slo: Slo, environment: Mapping[str, str], say: Say) -> None:
    url = metrics_url(target, environment)
    if problem := wrong_address(url):
        raise UsageError(f"METRICS_URL: {problem}")
    snapshot = scrape(url, target)
    if snapshot.text is None:
        raise UsageError(
            f"the metrics witness cannot testify: {snapshot.problem}; start the target, set "
            "METRICS_URL, or ask no metrics in slo.yaml"
        )
    try:
        scraped = parse(snapshot.text)
    except ExpositionError as error:
        raise UsageError(f"the metrics witness cannot testify: {url}: {error}") from error
    for selector in slo.selectors():
        if problem := unknown_label(selector, scraped.series):
            raise UsageError(f"slo.yaml asks {selector} of {url}, but {problem}")
    bases = {name.removesuffix("_bucket") for name in scraped.declared}
    absent = {s.metric for s in slo.selectors() if s.metric not in scraped.declared | bases}
    if absent:
        say(f"note: {url} does not (yet) have {', '.join(sorted(absent))}")


def run_scenarios(
    target: str,
    scenarios: tuple[str, ...],
    *,
    folder: Path,
    reports: Path,
    slo_path: Path,
    prices_path: Path,
    stack: Stack,
    duration: str,
    command: str,
    say: Say,
    prepared: Callable[[RunDirectory], None] = lambda _: None,
) -> RunDirectory:
    """
    Run scenarios against a target and gather all evidence; gives the run directory.

    Interrupted, it still gathers what there is and marks the run so. Raises
    UsageError, YamlError or FiguresError before any load is sent.
    """
    slo = load_slo(slo_path, scenario_names(folder))
    load_prices(prices_path)
    benchmarks = read_benchmarks(slo.benchmarks, reports / FOLDER)
    environment = {**os.environ, **stack.environment}
    preflight(target, slo, environment, say)
    run = provenance.new_run(time.time(), target, command, scenarios, stack)
    directory = RunDirectory.create(reports, run)
    shutil.copyfile(slo_path, directory.path / "slo.yaml")
    shutil.copyfile(prices_path, directory.path / "prices.yaml")
    for name, text in benchmarks.items():
        directory.write_benchmark(name, text)
    prepared(directory)
    say(f"run {run.id}: {', '.join(scenarios)} against {target}")
    interrupted = False
    try:
        for name in scenarios:
            _run_scenario(directory, folder / f"{name}.py", target, duration, say)
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted: gathering what there is")
    try:
        if "langfuse" in slo.witnesses and directory.window_names():
            say("reading the traces from Langfuse")
            collect(directory, environment)
    except KeyboardInterrupt:
        interrupted = True
    directory.write_run(replace(directory.read_run(), ended=time.time(), interrupted=interrupted))
    return directory


def _run_scenario(
    directory: RunDirectory, file: Path, target: str, duration: str, say: Say
) -> None:
    name = file.stem
    log = directory.logs / f"locust-{name}.log"
    command = [
        sys.executable, "-m", "locust", "-f", str(file), "--headless", "--host", target,
        "--users", "1", "--spawn-rate", "1", "--open-loop", "--run-dir", str(directory.path),
        "--exit-code-on-error", "0", "--only-summary",
    ]  # fmt: skip
    if duration:
        command += ["--load-duration", duration]
    say(f"{name}: preparing")
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - Locust, with arguments of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Options meant for another Locust would change what is sent.
            env={k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")},
            # Ctrl-C reaches Locust once, from here.
            start_new_session=True,
        )
    try:
        _watch(process, directory, name, say)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        say(f"{name}: interrupted, waiting for requests under way")
        _wait(process)
        raise
    except BaseException:
        process.kill()
        process.wait()
        raise
    opened = directory.window_names()
    if process.returncode != 0 or name not in opened:
        words = _own_words(log) or f"see {log}"
        if not opened:
            raise UsageError(f"{name} could not be run: {words}")
        # What earlier scenarios saw is not thrown away for this one.
        directory.note(f"Locust ended {name} with exit code {process.returncode}: {words}")
        if name not in opened:
            say(f"{name} could not be run: {words}")
            return
    done = directory.read_window(name)
    say(f"{name}: {done.requests} requests in {done.window.duration:.0f} s")


def _watch(process: subprocess.Popen[bytes], directory: RunDirectory, name: str, say: Say) -> None:
    """Wait for the load to end, and say every now and then how far it is."""
    window = directory.path / "windows" / name
    opened, spoken = False, time.monotonic()
    while process.poll() is None:
        time.sleep(_TICK_SECONDS)
        if not opened and (window / "window.json").exists():
            opened, spoken = True, time.monotonic()
            say(f"{name}: sending")
        if opened and time.monotonic() - spoken > _NEWS_SECONDS:
            spoken = time.monotonic()
            rows = window / "samples.jsonl"
            done = len(rows.read_bytes().splitlines()) if rows.exists() else 0
            say(f"{name}: {done} requests done")


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _own_words(log: Path) -> str:
    """The last sentence that the load itself said, or else the last line of its log."""
    lines = [s for s in log.read_text(errors="replace").splitlines() if s.strip()]
    own = [line.removeprefix("harness: ") for line in lines if line.startswith("harness: ")]
    return own[-1] if own else (lines[-1] if lines else "")
