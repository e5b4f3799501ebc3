"""Run scenarios one after the other: each in a Locust of its own, all into one run directory."""

from __future__ import annotations

import difflib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness import provenance
from harness.cli.load_log import own_words, waiting
from harness.cli.news import News
from harness.cli.tally import tally
from harness.evidence.benchmarks import FOLDER, read_benchmarks
from harness.evidence.exposition import ExpositionError, parse, unknown_label
from harness.model import HarnessError
from harness.prices import load_prices
from harness.provenance import Stack, wrong_address
from harness.runs import RunDirectory, WindowRecord
from harness.scrape import metrics_url, scrape
from harness.slo import ALL, Slo, load_slo

_TICK_SECONDS = 0.2
_NEWS_SECONDS = 10.0
_STOP_SECONDS = 180.0
_WORKERS_COME_SECONDS = 300

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    """
    How the load of a run is made, in all its scenarios.

    `processes` send it: this many here, or on other machines where `master`
    says at which address and port they find their master. The limits are what
    is left of those of the whole run.
    """

    duration: str = ""
    processes: int = 1
    max_requests: int | None = None
    budget_usd: float | None = None
    master: tuple[str, int] | None = None

    def arguments(self) -> list[str]:
        """Say the same to Locust."""
        words = ["--load-duration", self.duration] if self.duration else []
        if self.max_requests is not None:
            words += ["--max-requests", str(self.max_requests)]
        if self.budget_usd is not None:
            words += ["--budget-usd", repr(self.budget_usd)]
        if self.master is not None:
            host, port = self.master
            words += [
                "--master", "--expect-workers", str(self.processes),
                "--expect-workers-max-wait", str(_WORKERS_COME_SECONDS),
                "--master-bind-host", host, "--master-bind-port", str(port),
            ]  # fmt: skip
        elif self.processes > 1:
            # Locust's own port may be in use by another load.
            port = _free_port()
            words += [
                "--processes", str(self.processes), "--master-bind-host", "127.0.0.1",
                "--master-bind-port", str(port), "--master-port", str(port),
            ]  # fmt: skip
        return words

    def after(self, done: WindowRecord) -> Load:
        """What is left of the limits after a scenario; what may have been sent counts as sent."""
        sent = sum((done.prepared_requests, done.warmup_requests, done.requests, done.may_be_lost))
        return replace(
            self,
            max_requests=None if self.max_requests is None else max(0, self.max_requests - sent),
            budget_usd=(
                None
                if self.budget_usd is None
                else max(0.0, self.budget_usd - (done.spent_usd or 0.0))
            ),
        )

    @property
    def used_up(self) -> str:
        """Name the limit that leaves nothing to send; empty when there is none."""
        if self.max_requests == 0:
            return "--max-requests"
        return "--budget-usd" if self.budget_usd == 0 else ""


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class UsageError(HarnessError):
    """What the user asked for that cannot be done, and the mend, in one sentence."""


def scenario_names(folder: Path) -> tuple[str, ...]:
    """Names of all scenarios in a folder: its Python files, but for those with an underscore."""
    names = tuple(sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")))
    if not names:
        raise UsageError(f"there is no scenario in {folder}; give a folder with --scenarios")
    return names


def chosen(names: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Check the scenarios asked for."""
    for name in names:
        if name not in known:
            raise UsageError(f"no scenario is named {name!r}; known: {', '.join(known)}")
        if names.count(name) > 1:
            raise UsageError(f"{name} is named twice; a run holds each scenario once")
    return names


def promised(slo: Slo, known: tuple[str, ...]) -> tuple[str, ...]:
    """Give the scenarios that a promise is about; all when every promise is about all."""
    named = {objective.scenario for objective in slo.objectives} - {ALL}
    return tuple(name for name in known if name in named) or known


def see_that_they_run(files: tuple[Path, ...]) -> None:
    """Have scenario files imported, as Locust will; raises UsageError naming file and line."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "harness.load.scenario_files", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UsageError(own_words(done.stderr) or f"the scenarios cannot be imported: {files}")


def preflight(target: str, slo: Slo, environment: Mapping[str, str], say: Say) -> None:
    """Ask every witness once, before any load; raises UsageError when one cannot testify."""
    if problem := wrong_address(target):
        raise UsageError(f"--host: {problem}")
    if "metrics" in slo.witnesses:
        _ask_metrics(target, slo, environment, say)
    if "langfuse" in slo.witnesses:
        # Only here, since its SDK takes a second to import.
        from harness.evidence.collect import Langfuse, LangfuseError  # noqa: PLC0415

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
        told = ", ".join(f"{name}{_closest(name, bases)}" for name in sorted(absent))
        say(f"note: {url} does not (yet) have {told}")


def _closest(name: str, known: Collection[str]) -> str:
    """Say which metrics are named almost so: one may be meant."""
    parts = {f"{base}{part}" for base in known for part in ("_sum", "_count")}
    close = difflib.get_close_matches(name, sorted(set(known) - parts), n=3)
    return f" (but {', '.join(close)})" if close else ""


def run_scenarios(
    target: str,
    scenarios: tuple[str, ...],
    *,
    folder: Path,
    reports: Path,
    slo_path: Path,
    prices_path: Path | None,
    stack: Stack,
    load: Load,
    command: str,
    say: Say,
    prepared: Callable[[RunDirectory], None] = lambda _: None,
) -> RunDirectory:
    """
    Run scenarios against a target and gather all evidence; gives the run directory.

    Without a price book, nothing can be priced.

    Interrupted, it still gathers what there is and marks the run so. Raises
    UsageError, YamlError or FiguresError before any load is sent.
    """
    slo = load_slo(slo_path, scenario_names(folder))
    if prices_path is not None:
        load_prices(prices_path)
    benchmarks = read_benchmarks(slo.benchmarks, reports / FOLDER)
    environment = {**os.environ, **stack.environment}
    see_that_they_run(tuple(folder / f"{name}.py" for name in scenarios))
    preflight(target, slo, environment, say)
    run = provenance.new_run(time.time(), target, command, scenarios, stack)
    directory = RunDirectory.create(reports, run)
    shutil.copyfile(slo_path, directory.path / "slo.yaml")
    if prices_path is not None:
        shutil.copyfile(prices_path, directory.path / "prices.yaml")
    for name, text in benchmarks.items():
        directory.write_benchmark(name, text)
    prepared(directory)
    say(f"run {run.id}: {', '.join(scenarios)} against {target}")
    interrupted = False
    try:
        for name in scenarios:
            if load.used_up:
                directory.note(f"{name} was not run: {load.used_up} was used up before")
                say(f"{name}: not run, since {load.used_up} is used up")
                continue
            _run_scenario(directory, folder / f"{name}.py", target, load, say)
            if name in directory.window_names():
                load = load.after(directory.read_window(name))
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted: gathering what there is")
    try:
        if "langfuse" in slo.witnesses and directory.window_names():
            from harness.evidence.collect import collect  # noqa: PLC0415 - as above

            say("reading the traces from Langfuse")
            collect(directory, environment)
    except KeyboardInterrupt:
        interrupted = True
    directory.write_run(replace(directory.read_run(), ended=time.time(), interrupted=interrupted))
    return directory


def _run_scenario(directory: RunDirectory, file: Path, target: str, load: Load, say: Say) -> None:
    name = file.stem
    log = _log(directory, name)
    command = [
        sys.executable, "-m", "locust", "-f", str(file), "--headless", "--host", target,
        "--users", "1", "--spawn-rate", "1", "--open-loop", "--run-dir", str(directory.path),
        "--exit-code-on-error", "0", "--only-summary", *load.arguments(),
    ]  # fmt: skip
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
    news = News(log, lambda sentence: say(f"{name}: {sentence.removeprefix(f'{name}: ')}"))
    try:
        _watch(process, directory, file, load, news, say)
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
        words = own_words(log.read_text(errors="replace")) or f"see {log}"
        if not opened:
            raise UsageError(f"{name} could not be run: {words}")
        # What earlier scenarios saw is not thrown away for this one.
        ended = f"Locust ended {name} with exit code {process.returncode}: {words}"
        directory.note(ended)
        if name not in opened:
            say(f"{name} could not be run: {words}")
            return
        record = directory.read_window(name)
        if not any(words in note for note in record.notes):
            directory.write_window(replace(record, notes=(*record.notes, ended)))
    done = directory.read_window(name)
    say(f"{name}: {tally(directory, done)}")
    for sentence in filter(None, (done.stopped_by, *done.notes)):
        news.tell(sentence)


def _watch(
    process: subprocess.Popen[bytes],
    directory: RunDirectory,
    file: Path,
    load: Load,
    news: News,
    say: Say,
) -> None:
    """Wait for the load to end, and say every now and then how far it is."""
    name = file.stem
    window = directory.path / "windows" / name
    opened, called, spoken = False, load.master is None, time.monotonic()
    while process.poll() is None:
        time.sleep(_TICK_SECONDS)
        if load.master is not None and not (opened or called):
            log = _log(directory, name).read_text(errors="replace")
            if sentence := waiting(log, file.parent, load.master[1]):
                called = True
                say(f"{name}: {sentence}")
        if not opened and (window / "window.json").exists():
            opened, spoken = True, time.monotonic()
            say(f"{name}: sending")
        if opened:
            news.pass_on()
        if opened and time.monotonic() - spoken > _NEWS_SECONDS:
            spoken = time.monotonic()
            rows = window / "samples.jsonl"
            say(f"{name}: {_so_far(rows.read_bytes() if rows.exists() else b'')}")


def _so_far(rows: bytes) -> str:
    """Say how many requests are done, and how many journeys were turned away."""
    shed = rows.count(b'"outcome":"shed"')
    done = rows.count(b"\n") - shed
    said = f"{done} requests done"
    return f"{said}, {shed} shed" if shed else said


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _log(directory: RunDirectory, name: str) -> Path:
    return directory.logs / f"locust-{name}.log"
