"""
The benchmark witness: figures that a benchmark measured before the run.

A benchmark's file says when it measured, on which machine and with which
versions. A run keeps the file as it was, so that it can be judged again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.model import (
    Account,
    Ask,
    HarnessError,
    Indicator,
    Interval,
    Measurement,
    Objective,
    Run,
    Window,
)
from harness.runs import RunDirectory

FOLDER = "benchmarks"
# How a bound is written in slo.yaml, and the unit that the figure must have for it.
_UNITS = {"%": "ratio", "": "ratio", "s": "seconds", "USD": "USD"}
_PASSING = {"load_average"}  # differs between any two moments


class FiguresError(HarnessError):
    """What is wrong in a benchmark's file of figures, and where, in one sentence."""


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One measured figure: its estimate, and the 95 % interval that the truth is in.

    `count` is how many events are behind it; the unit is "ratio", "seconds" or "USD"
    where slo.yaml can promise it, and anything else where it cannot.
    """

    value: float
    low: float
    high: float
    count: int
    unit: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What one benchmark measured, when (ISO 8601 with its offset) and on what."""

    name: str
    measured_at: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    figures: Mapping[str, Figure]


def read_benchmarks(names: Iterable[str], folder: Path) -> dict[str, str]:
    """
    Read the files of these benchmarks that are there, as text.

    Raises FiguresError when one cannot be read or is malformed; none at all is no error.
    """
    texts = {}
    for name in names:
        path = folder / f"{name}.json"
        if (text := _text(path)) is not None:
            parse_benchmark(name, text, path)
            texts[name] = text
    return texts


def parse_benchmark(name: str, text: str, place: Path) -> Benchmark:
    """Read a file of figures strictly; raises FiguresError that names the file and the field."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FiguresError(f"{place}: is not JSON: {error}") from error
    top = _Object(place, "", fields)
    if top.text("benchmark") != name:
        raise top.error("benchmark", f"is {top.text('benchmark')!r}; a file bears its own name")
    _instant(top)
    figures = top.inner("figures")
    return Benchmark(
        name=name,
        measured_at=top.text("measured_at"),
        machine=top.facts("machine"),
        versions=top.facts("versions"),
        figures={key: _figure(figures.inner(key)) for key in figures.fields},
    )


class BenchmarkEvidence:
    """The figures that a run keeps; the same for every window, since none of them saw it."""

    witness = "benchmark"

    def __init__(self, run: RunDirectory, names: Iterable[str]) -> None:
        """Read what the run keeps of these benchmarks; raises FiguresError when it is damaged."""
        self._benchmarks: dict[str, Benchmark] = {}
        for name in names:
            path = run.benchmark_path(name)
            if (text := _text(path)) is not None:
                self._benchmarks[name] = parse_benchmark(name, text, path)

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:  # noqa: ARG002
        """Answer with the figure's interval; None when it was not measured, or in another unit."""
        ask = indicator.asks[self.witness]
        figure = self._figure(ask)
        if figure is None:
            return Measurement(self.witness, None, 0, str(ask), note="it was not measured")
        if figure.unit != _UNITS[indicator.unit]:
            note = f"its unit is {figure.unit!r}, and the promise needs {_UNITS[indicator.unit]!r}"
            return Measurement(self.witness, None, 0, str(ask), note=note)
        measured_at = self._benchmarks[ask.benchmark].measured_at
        return Measurement(
            self.witness,
            Interval(figure.low, figure.high),
            figure.count,
            str(ask),
            note=f"measured before this run, at {measured_at}",
        )

    def account(self, window: Window) -> Account | None:  # noqa: ARG002
        """Say nothing of any window: it saw none."""
        return None

    def measured(self, objectives: Sequence[Objective]) -> list[Objective]:
        """The objectives that can be judged: all but those on figures nobody measured."""
        return [o for o in objectives if not self._lacks(o)]

    def unmeasured(self, objectives: Sequence[Objective]) -> list[str]:
        """Say which objectives were left out, and how to measure them: a sentence a benchmark."""
        lacking: dict[str, list[Objective]] = {}
        for objective in objectives:
            if self._lacks(objective):
                lacking.setdefault(_ask(objective).benchmark, []).append(objective)
        sentences = []
        for benchmark, left_out in lacking.items():
            names = ", ".join(o.name for o in left_out)
            if benchmark in self._benchmarks:
                figures = ", ".join(_ask(o).what for o in left_out)
                why = f"the benchmark {benchmark} was run, but its figures lack {figures}"
            else:
                why = f"the run has no figures of the benchmark {benchmark}"
            sentences.append(
                f"Not measured, and so not judged: {names}; {why}. "
                f"`python benchmarks/{benchmark}.py` measures them for the runs after it."
            )
        return sentences

    def facts(self, run: Run, objectives: Sequence[Objective]) -> list[dict[str, Any]]:
        """Tell of each benchmark when and on what it measured, and which figures are promised."""
        return [
            {
                "name": name,
                "measured_at": benchmark.measured_at,
                "machine": benchmark.machine,
                "versions": benchmark.versions,
                "differences": differences(benchmark, run),
                "figures": [
                    {"objective": o.name, "figure": _ask(o).what, **asdict(figure)}
                    for o in objectives
                    if self.witness in o.indicator.asks
                    and _ask(o).benchmark == name
                    and (figure := self._figure(_ask(o))) is not None
                ],
            }
            for name, benchmark in self._benchmarks.items()
        ]

    def _figure(self, ask: Ask) -> Figure | None:
        benchmark = self._benchmarks.get(ask.benchmark)
        return None if benchmark is None else benchmark.figures.get(ask.what)

    def _lacks(self, objective: Objective) -> bool:
        return self.witness in objective.indicator.asks and self._figure(_ask(objective)) is None


def differences(benchmark: Benchmark, run: Run) -> list[str]:
    """Say how the benchmark's versions and machine differ from the run's, where both tell."""
    found = []
    for theirs, ours in ((benchmark.versions, run.versions), (benchmark.machine, run.machine)):
        found += [
            f"{name} was {value} when it was measured and is {ours[name]} in this run"
            for name, value in theirs.items()
            if name not in _PASSING and ours.get(name, value) != value
        ]
    return found


def _ask(objective: Objective) -> Ask:
    return objective.indicator.asks[BenchmarkEvidence.witness]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FiguresError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FiguresError(f"{path}: is not UTF-8 text") from error


def _instant(top: _Object) -> None:
    written = top.text("measured_at")
    try:
        offset = datetime.fromisoformat(written).utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        raise top.error(
            "measured_at", f"{written!r} is not an instant such as 2026-11-22T07:00:00Z"
        )


def _figure(fields: _Object) -> Figure:
    low, value, high = (fields.number(key) for key in ("low", "value", "high"))
    # The estimate itself may lie outside: an interval from resampling does not promise otherwise.
    if low > high:
        raise fields.error("low", f"{low:g} is above high, {high:g}")
    count = fields.number("count")
    if count < 1 or count != int(count):
        raise fields.error("count", f"{count:g} is not a whole number of at least 1")
    return Figure(value, low, high, int(count), fields.text("unit"))


class _Object:
    """One JSON object of a file, read field by field; every error names the file and field."""

    def __init__(self, place: Path, where: str, value: object) -> None:
        if not isinstance(value, dict):
            raise FiguresError(f"{place}: {where or 'its top'}: must be an object")
        self._place, self._where = place, where
        self.fields: dict[str, Any] = value

    def error(self, key: str, problem: str) -> FiguresError:
        return FiguresError(f"{self._place}: {self._at(key)}: {problem}")

    def text(self, key: str) -> str:
        value = self._value(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, "must be a text")
        return value

    def number(self, key: str) -> float:
        value = self._value(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(key, "must be a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.error(key, "is not a finite number")
        return number

    def inner(self, key: str) -> _Object:
        return _Object(self._place, self._at(key), self._value(key))

    def facts(self, key: str) -> dict[str, str]:
        """Read texts and numbers by name, all as text; without any, nothing can be compared."""
        inner = self.inner(key)
        for name, value in inner.fields.items():
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise inner.error(name, "must be a text or a number")
        if not inner.fields:
            raise self.error(key, "is empty; it must say at least one thing")
        return {name: str(value) for name, value in inner.fields.items()}

    def _value(self, key: str) -> object:
        if key not in self.fields:
            raise self.error(key, "missing; it must be given")
        return self.fields[key]

    def _at(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key
