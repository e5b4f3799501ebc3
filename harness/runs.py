"""
The run directory: the files in which run, judge and report meet.

reports/<run-id>/
    run.json                       what was run, when, against what
    slo.yaml, prices.yaml          the promises and prices as they were then
    benchmarks/<name>.json         figures that a benchmark measured before, as they were then
    windows/<name>/window.json     the interval, and what the generator says of itself
    windows/<name>/samples.jsonl   a line per request
    windows/<name>/histograms.jsonl  HDR histograms per scenario, operation and outcome
    windows/<name>/intervals.hlog  the same per second, in the log format of HdrHistogram
    windows/<name>/generator.jsonl   a line per second and load process: what it says of itself
    windows/<name>/metrics-before.prom, metrics-after.prom (+ .json)   raw scrapes
    windows/<name>/langfuse.jsonl, langfuse.json   raw observations, how they were read
    logs/                          of every process the harness started
    verdicts.json, report.html, junit.xml, summary.md

Everything is plain text, written as soon as it is known, so that a run that
was cut short can still be judged for what it has.
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from harness import histogram_log
from harness.distribution import Distribution
from harness.histogram_log import LoggedInterval
from harness.model import GeneratorSecond, HarnessError, Outcome, Part, Run, Sample, Window

_FORMAT = 1
Line = TypeVar("Line")
_json = json.JSONEncoder().encode
_word = lru_cache(maxsize=1000)(_json)  # names of scenarios and operations, again and again
_OPTIONAL = [f.name for f in fields(Sample) if f.default is None]  # all of them numbers
_OPTIONAL_STARTS = [f',"{name}":' for name in _OPTIONAL]
_optional = attrgetter(*_OPTIONAL)


class RunError(HarnessError):
    """What is wrong with a run directory, and the mend, in one sentence."""


@dataclass(frozen=True, slots=True)
class WindowRecord:
    """
    One window and what the generator says of it.

    `planned` is how many arrivals the schedule held, `begun` how many of their
    journeys began and `scheduled_seconds` how long it was (None in a closed
    loop: there is no schedule), `requests` how many were sent, after
    `prepared_requests` to prepare the target and `warmup_requests` to warm it up,
    `locust_requests` how many Locust counted, `cpu_share` how much of one core
    the busiest load process used. `shed` journeys were turned away by the
    ceiling of those in flight, `clamped` values did not fit a histogram, and
    `may_be_lost` requests were perhaps sent by load processes that died before
    they told. `stopped_by` names the limit that ended the sending early, if one did;
    `spent_usd` is what a load with a budget spent, its warm-up included, of the
    `budget_usd` that this window was allowed;
    `null_probes` are response times of /health, in seconds, taken meanwhile.
    """

    window: Window
    arrivals: str
    open_loop: bool
    processes: int = 1
    planned: int | None = None
    begun: int | None = None
    scheduled_seconds: float | None = None
    requests: int = 0
    warmup_requests: int = 0
    prepared_requests: int = 0
    locust_requests: int | None = None
    null_probes: tuple[float, ...] = ()
    cpu_share: float | None = None
    shed: int = 0
    clamped: int = 0
    may_be_lost: int = 0
    stopped_by: str = ""
    spent_usd: float | None = None
    budget_usd: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One scrape of /metrics: when, how long it took, and the text, or why there is none."""

    at: float
    seconds: float
    text: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Collection:
    """How the observations of a window were read from Langfuse, and whether all came."""

    complete: bool
    polls: int
    seconds: float
    duplicates: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class HistogramKey:
    """What one HDR histogram of a window holds."""

    scenario: str
    operation: str
    outcome: Outcome
    time: str

    @property
    def tag(self) -> str:
        """Its name in a log of histograms: four parts that hold no comma, space or slash."""
        parts = (self.scenario, self.operation, self.outcome, self.time)
        return "/".join(quote(part, safe="") for part in parts)

    @classmethod
    def of_tag(cls, tag: str) -> HistogramKey:
        """Read a tag; raises ValueError when it is not one of ours."""
        parts = [unquote(part) for part in tag.split("/")]
        if len(parts) != 4:
            msg = f"the tag {tag!r} does not name scenario, operation, outcome and time"
            raise ValueError(msg)
        scenario, operation, outcome, time = parts
        return cls(scenario, operation, Outcome(outcome), time)


Intervals = Mapping[int, Mapping[HistogramKey, Distribution]]
"""Histograms by the second of the epoch that their requests ended in."""


class RunDirectory:
    """A run on disk. All writes are whole files or appended lines."""

    def __init__(self, path: Path) -> None:
        """Point at a run; nothing is read yet."""
        self.path = path

    # -- the run itself -------------------------------------------------------

    @classmethod
    def create(cls, reports: Path, run: Run) -> RunDirectory:
        """Make the directory of a new run."""
        directory = cls(reports / run.id)
        (directory.path / "logs").mkdir(parents=True)
        directory.write_run(run)
        return directory

    def write_run(self, run: Run) -> None:
        """Write run.json."""
        self._write_json("run.json", {"format": _FORMAT, **asdict(run)})

    def read_run(self) -> Run:
        """Read run.json; raises RunError when this is not a run."""
        fields = self._read_json("run.json")
        if fields is None:
            raise RunError(f"{self.path} is not a run directory: it has no run.json")
        if fields.pop("format", None) != _FORMAT:
            raise RunError(f"{self.path}/run.json is of another format than {_FORMAT}")
        with _damage(self.path / "run.json"):
            fields["parts"] = tuple(Part(**part) for part in fields["parts"])
            fields["expected_windows"] = tuple(fields["expected_windows"])
            fields["notes"] = tuple(fields["notes"])
            return Run(**fields)

    def note(self, *notes: str) -> None:
        """Add remarks to run.json: what a reader of the report must know."""
        run = self.read_run()
        fresh = tuple(n for n in notes if n not in run.notes)
        self.write_run(replace(run, notes=run.notes + fresh))

    @property
    def logs(self) -> Path:
        """Where the logs of every started process are."""
        return self.path / "logs"

    def write_benchmark(self, name: str, text: str) -> None:
        """Keep the figures of a benchmark as its file holds them."""
        self._path(f"benchmarks/{name}.json").write_text(text, encoding="utf-8")

    def benchmark_path(self, name: str) -> Path:
        """Where the figures of a benchmark are, if the run has them."""
        return self.path / "benchmarks" / f"{name}.json"

    # -- windows --------------------------------------------------------------

    def window_names(self) -> tuple[str, ...]:
        """The windows that have a record, in the order they were opened."""
        records = [
            self.read_window(p.parent.name) for p in self.path.glob("windows/*/window.json")
        ]
        return tuple(r.window.name for r in sorted(records, key=lambda r: r.window.start))

    def write_window(self, record: WindowRecord) -> None:
        """Write window.json; from its first window on, the run is reports/latest."""
        self._write_json(f"windows/{record.window.name}/window.json", asdict(record))
        latest = self.path.parent / "latest"
        if not latest.exists() or latest.resolve() != self.path.resolve():
            fresh = self.path.parent / f".latest-{self.path.name}"
            fresh.symlink_to(self.path.name)
            fresh.replace(latest)

    def read_window(self, name: str) -> WindowRecord:
        """Read window.json; raises RunError when it is not there."""
        fields = self._read_json(f"windows/{name}/window.json")
        if fields is None:
            raise RunError(f"{self.path} has no window {name!r}")
        with _damage(self.path / f"windows/{name}/window.json"):
            window = fields.pop("window")
            window["scenarios"] = tuple(window["scenarios"])
            fields["null_probes"] = tuple(fields["null_probes"])
            fields["notes"] = tuple(fields["notes"])
            return WindowRecord(window=Window(**window), **fields)

    def append_samples(self, window: str, samples: Iterable[Sample]) -> None:
        """Add a line per sample."""
        path = self._path(f"windows/{window}/samples.jsonl")
        with path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_sample_line, samples)))

    def read_samples(self, window: str) -> list[Sample]:
        """Read all samples of a window; a last line cut short by a crash is left out."""
        return list(self._read_lines(f"windows/{window}/samples.jsonl", _sample))

    def write_histograms(
        self, window: str, histograms: Mapping[HistogramKey, Distribution]
    ) -> None:
        """Write the HDR histograms of a window, a line each."""
        lines = [{**asdict(key), **d.encode()} for key, d in histograms.items()]
        self._write_lines(f"windows/{window}/histograms.jsonl", lines)

    def read_histograms(self, window: str) -> dict[HistogramKey, Distribution]:
        """Read the HDR histograms of a window."""
        return dict(self._read_lines(f"windows/{window}/histograms.jsonl", _histogram))

    def append_intervals(self, window: str, intervals: Intervals, start: float) -> None:
        """
        Add histograms of seconds of a window that began at `start`, in seconds since the epoch.

        What was added is there after a crash, if perhaps out of order and a
        second in several lines; `write_intervals` puts it right.
        """
        path = self._path(f"windows/{window}/intervals.hlog")
        base = math.floor(start)
        with path.open("a", encoding="utf-8") as file:
            if file.tell() == 0:
                file.write(histogram_log.header(base))
            file.writelines(histogram_log.lines(_logged(intervals), base))

    def write_intervals(self, window: str, intervals: Intervals, start: float) -> None:
        """Add the last histograms of seconds, and leave one line for each, in order of time."""
        path = self._path(f"windows/{window}/intervals.hlog")
        logged = histogram_log.joined([*self._read_log(path), *_logged(intervals)])
        base = min([math.floor(start), *(math.floor(i.start) for i in logged)])
        fresh = path.with_suffix(".tmp")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(histogram_log.header(base))
            file.writelines(histogram_log.lines(logged, base))
        fresh.replace(path)

    def read_intervals(self, window: str) -> Iterator[tuple[int, HistogramKey, Distribution]]:
        """
        Read the histograms of a window second by second, with the second of the epoch they are of.

        Their sums are not known. A window that was never closed may have several
        of one second and key.
        """
        path = self.path / f"windows/{window}/intervals.hlog"
        for interval in self._read_log(path):
            with _damage(path):
                found = HistogramKey.of_tag(interval.tag), interval.distribution
            yield math.floor(interval.start), *found

    def _read_log(self, path: Path) -> list[LoggedInterval]:
        if not path.exists():
            return []
        with _damage(path), path.open(encoding="utf-8") as file:
            return list(histogram_log.read(file))

    def append_generator(self, window: str, seconds: Iterable[GeneratorSecond]) -> None:
        """Add a line per second of a load process."""
        path = self._path(f"windows/{window}/generator.jsonl")
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(s)) + "\n" for s in seconds)

    def read_generator(self, window: str) -> list[GeneratorSecond]:
        """Read what the load processes of a window said of themselves, second by second."""
        return list(
            self._read_lines(
                f"windows/{window}/generator.jsonl", lambda fields: GeneratorSecond(**fields)
            )
        )

    # -- the other witnesses ----------------------------------------------------

    def write_snapshot(self, window: str, which: str, snapshot: Snapshot) -> None:
        """Keep a scrape as it came; `which` is before or after."""
        stem = f"windows/{window}/metrics-{which}"
        if snapshot.text is not None:
            self._path(f"{stem}.prom").write_text(snapshot.text, encoding="utf-8")
        facts = {"at": snapshot.at, "seconds": snapshot.seconds, "problem": snapshot.problem}
        self._write_json(f"{stem}.json", facts)

    def read_snapshot(self, window: str, which: str) -> Snapshot | None:
        """Read a scrape; None when it was never tried."""
        stem = f"windows/{window}/metrics-{which}"
        facts = self._read_json(f"{stem}.json")
        if facts is None:
            return None
        text_path = self.path / f"{stem}.prom"
        with _damage(text_path):
            text = text_path.read_text(encoding="utf-8") if text_path.exists() else None
        with _damage(self.path / f"{stem}.json"):
            return Snapshot(text=text, **facts)

    def write_observations(
        self, window: str, rows: Iterable[Mapping[str, Any]], collection: Collection
    ) -> None:
        """Keep the observations of a window as Langfuse gave them."""
        self._write_lines(f"windows/{window}/langfuse.jsonl", rows)
        self._write_json(f"windows/{window}/langfuse.json", asdict(collection))

    def read_observations(self, window: str) -> tuple[list[dict[str, Any]], Collection | None]:
        """Read the observations of a window; None for the collection when it was never tried."""
        facts = self._read_json(f"windows/{window}/langfuse.json")
        rows = list(self._read_lines(f"windows/{window}/langfuse.jsonl", dict))
        with _damage(self.path / f"windows/{window}/langfuse.json"):
            return rows, None if facts is None else Collection(**facts)

    # -- files ------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _write_json(self, name: str, fields: Mapping[str, Any]) -> None:
        path = self._path(name)
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        with _damage(path):
            return dict(json.loads(path.read_text(encoding="utf-8")))

    def _write_lines(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        with self._path(name).open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def _read_lines(self, name: str, read: Callable[[dict[str, Any]], Line]) -> Iterator[Line]:
        """Read a line at a time as `read` makes of it; a damaged one is named by its number."""
        path = self.path / name
        if not path.exists():
            return
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                with _damage(f"{path}:{number}"):
                    try:
                        fields = json.loads(line)
                    except ValueError:
                        if not line.endswith(b"\n"):
                            return  # cut short by a crash while it was written
                        raise
                    found = read(fields)
                yield found


@contextmanager
def _damage(place: object) -> Iterator[None]:
    """Turn whatever a file of the wrong content causes into one sentence that names the place."""
    try:
        yield
    except KeyError as error:
        raise RunError(f"{place} is damaged: it has no {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{place} is damaged: {error}") from error


def _sample(fields: dict[str, Any]) -> Sample:
    return Sample(**{**fields, "outcome": Outcome(fields["outcome"])})


def _sample_line(sample: Sample) -> str:
    """Write a row as JSON, without what it does not know: by hand, because there are so many."""
    line = (
        f'{{"scenario":{_word(sample.scenario)},"operation":{_word(sample.operation)},'
        f'"trace_id":{_json(sample.trace_id)},"intended_start":{sample.intended_start!r},'
        f'"start":{sample.start!r},"end":{sample.end!r},"outcome":"{sample.outcome}"'
    )
    for start, value in zip(_OPTIONAL_STARTS, _optional(sample), strict=True):
        if value is not None:
            line += f"{start}{value!r}"
    if not sample.traced:
        line += ',"traced":false'
    if sample.detail:
        line += f',"detail":{_json(sample.detail)}'
    return line + "}\n"


def _logged(intervals: Intervals) -> list[LoggedInterval]:
    return [
        LoggedInterval.of(key.tag, second, distribution)
        for second, histograms in intervals.items()
        for key, distribution in histograms.items()
    ]


def _histogram(fields: dict[str, Any]) -> tuple[HistogramKey, Distribution]:
    key = HistogramKey(
        fields["scenario"], fields["operation"], Outcome(fields["outcome"]), fields["time"]
    )
    return key, Distribution.decode(fields)


def new_run_id(now: float) -> str:
    """Name a run by its start in UTC and a few random characters: unique, and sorts by time."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    return f"{stamp}-{secrets.token_hex(2)}"


def open_run(path: Path) -> RunDirectory:
    """Open an existing run, such as reports/latest; raises RunError when there is none."""
    if not path.exists():
        raise RunError(f"{path} does not exist; give a run directory, such as reports/latest")
    directory = RunDirectory(path.resolve())
    directory.read_run()
    return directory


def list_runs(reports: Path) -> list[str]:
    """Ids of all runs below a folder, oldest first."""
    ids = [p.parent.name for p in reports.glob("*/run.json") if not p.parent.is_symlink()]
    return sorted(i for i in ids if re.match(r"\d{8}-\d{6}-", i))
