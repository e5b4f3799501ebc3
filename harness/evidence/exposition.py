"""Prometheus text exposition: parse two scrapes, fold them into what happened in between."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from harness.model import Buckets, HarnessError, Selector

Labels = frozenset[tuple[str, str]]
_CREATED = "_created"
_COUNTER = re.compile(r"^# TYPE (\S+) counter\s*$", re.MULTILINE)
# The series of each type that may only go up, by what follows the name. A
# summary's own series are quantiles, which come and go.
_RISING = {
    "counter": ("", "_total"),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}


class ExpositionError(HarnessError):
    """Why a text is not Prometheus exposition, in one sentence."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """
    One scrape, parsed: a value per series, and the names that the server declared.

    `rising` are the names whose series may only go up: counters, and the
    buckets, counts and sums of histograms.
    """

    series: Mapping[str, Mapping[Labels, float]]
    declared: frozenset[str]
    rising: frozenset[str]


def parse(text: str) -> Scrape:
    """
    Parse text exposition 0.0.4; raises ExpositionError when it is malformed.

    Bucket bounds are normalised (le="5" and le="5.0" are one bound).
    Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    series: dict[str, dict[Labels, float]] = {}
    declared: set[str] = set()
    rising: set[str] = set()
    try:
        for family in text_string_to_metric_families(text):
            stem = family.name
            up = {stem + suffix for suffix in _RISING.get(family.type, ())}
            declared |= {stem, *up}
            rising |= up
            for sample in family.samples:
                labels = dict(sample.labels)
                if "le" in labels:
                    labels["le"] = bound_text(float(labels["le"]))
                declared.add(sample.name)
                if family.type == "unknown" and _counts(sample.name):
                    rising.add(sample.name)
                series.setdefault(sample.name, {})[frozenset(labels.items())] = float(sample.value)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ExpositionError(f"not Prometheus text exposition: {error}") from error
    if not declared:
        raise ExpositionError("not Prometheus text exposition: it holds no metric")
    # The parser adds _total to a counter without it; it must answer to its own name too.
    for name in _COUNTER.findall(text):
        if f"{name}_total" in series:
            series.setdefault(name, series[f"{name}_total"])
    return Scrape(series, frozenset(declared), frozenset(rising))


def _counts(name: str) -> bool:
    """Whether an untyped series is a counter by its name."""
    return name.endswith(("_total", "_bucket", "_count", "_sum"))


def bound_text(bound: float) -> str:
    """Write a bucket bound the one way used here: 5 as "5", infinity as "+Inf"."""
    return "+Inf" if math.isinf(bound) else f"{bound:.12g}"


@dataclass(frozen=True, slots=True)
class Fold:
    """What happened between scrapes: increases per series, never rates."""

    increases: Mapping[str, Mapping[Labels, float]]
    declared: frozenset[str]
    resets: tuple[str, ...]

    def total(self, selector: Selector) -> float | None:
        """
        The increase over all series the selector matches.

        A metric that the server never declared is None; a counter that it declares
        but that has no matching series is 0: it never happened. Raises
        ExpositionError for a metric that does not count, and for NaN.
        """
        if selector.metric not in self.declared:
            return None
        if selector.metric not in self.increases:
            raise ExpositionError(f"{selector.metric} is not a counter, so it cannot be counted")
        total = sum(
            value
            for labels, value in self.increases[selector.metric].items()
            if matches(selector, labels)
        )
        if not math.isfinite(total):
            raise ExpositionError(f"{selector} is {total}, not a number")
        return total

    def buckets(self, selector: Selector) -> Buckets | None:
        """The histogram over all series the selector matches; None when there is none."""
        by_labels: dict[Labels, dict[float, float]] = {}
        for labels, value in self.increases.get(f"{selector.metric}_bucket", {}).items():
            if matches(selector, labels):
                rest = frozenset(pair for pair in labels if pair[0] != "le")
                by_labels.setdefault(rest, {})[float(dict(labels)["le"])] = value
        if not by_labels:
            return None
        bounds = {tuple(sorted(found)) for found in by_labels.values()}
        if len(bounds) > 1:
            raise ExpositionError(
                f"{selector}: its series have different bucket bounds and cannot be added"
            )
        edges = bounds.pop()
        if not math.isinf(edges[-1]):
            raise ExpositionError(f"{selector}: it has no +Inf bucket")
        sums = [sum(found[edge] for found in by_labels.values()) for edge in edges]
        if not all(map(math.isfinite, sums)):
            raise ExpositionError(f"{selector}: one of its bucket counts is not a number")
        cumulative = tuple(round(count) for count in sums)
        if any(a > b for a, b in pairwise(cumulative)):
            raise ExpositionError(f"{selector}: its bucket counts go down as the bounds go up")
        seconds = self.total(Selector(f"{selector.metric}_sum", selector.match))
        if seconds is None:
            raise ExpositionError(f"{selector}: it has no _sum")
        return Buckets(edges, cumulative, seconds)


Series = Mapping[str, Mapping[Labels, float]]


def unknown_label(selector: Selector, series: Series) -> str:
    """Say which label of the selector no series of the metric has; "" if there is none."""
    found = _series_of(selector, series)
    have = sorted({name for labels in found for name, _ in labels} - {"le"})
    for name in selector.match:
        if found and name not in have and name != "le":
            only = f"only {', '.join(have)}" if have else "they have none"
            return f"no series of {selector.metric} has a label {name!r}; {only}"
    return ""


def unmatched(selector: Selector, series: Series) -> str:
    """Say that no series matches, and what there is instead; "" when one does."""
    found = _series_of(selector, series)
    if any(matches(selector, labels) for labels in found):
        return ""
    seen = [
        f"{name}={'|'.join(sorted({v for labels in found for n, v in labels if n == name}))}"
        for name in selector.match
    ]
    return f"no series matches {selector}" + (f"; there is {', '.join(seen)}" if found else "")


def _series_of(selector: Selector, series: Series) -> Mapping[Labels, float]:
    return series.get(selector.metric) or series.get(f"{selector.metric}_bucket") or {}


def matches(selector: Selector, labels: Labels) -> bool:
    """Whether a series has one of the wanted values for every label of the selector."""
    have = dict(labels)
    return all(
        have.get(label)
        in (tuple(bound_text(float(v)) for v in wanted) if label == "le" else wanted)
        for label, wanted in selector.match.items()
    )


def fold(before: Scrape, after: Scrape) -> Fold:
    """
    Subtract one scrape from a later one, per series.

    A counter that went down, a changed process start or a changed `_created`
    is a reset: the series then counts from zero, and the fold says so, since
    what happened between the last scrape and the restart is gone.
    """
    resets = []
    start = "process_start_time_seconds"
    if before.series.get(start) != after.series.get(start):
        resets.append("the process was restarted")
    rising = before.rising | after.rising
    for name, values in after.series.items():
        earlier = before.series.get(name, {})
        if _tells_creation(name, rising) and any(
            earlier.get(k, v) != v for k, v in values.items()
        ):
            resets.append(f"{name} changed")
    increases: dict[str, dict[Labels, float]] = {}
    for name in sorted(rising):
        earlier, later = before.series.get(name, {}), after.series.get(name, {})
        if any(later.get(labels, -math.inf) < value for labels, value in earlier.items()):
            resets.append(f"{name} went down or lost a series")
        increases[name] = {
            labels: value if value < earlier.get(labels, 0.0) else value - earlier.get(labels, 0.0)
            for labels, value in later.items()
        }
    return Fold(increases, before.declared | after.declared, tuple(resets))


def _tells_creation(name: str, rising: frozenset[str]) -> bool:
    """Whether a series is the creation time of a counter, a histogram or a summary."""
    stem = name.removesuffix(_CREATED)
    return stem != name and name not in rising and bool({f"{stem}_total", f"{stem}_sum"} & rising)


def add(folds: list[Fold]) -> Fold:
    """Join the folds of several windows into one."""
    increases: dict[str, dict[Labels, float]] = {}
    for one in folds:
        for name, values in one.increases.items():
            joined = increases.setdefault(name, {})
            for labels, value in values.items():
                joined[labels] = joined.get(labels, 0.0) + value
    declared = frozenset[str]().union(*(one.declared for one in folds))
    return Fold(increases, declared, tuple(r for one in folds for r in one.resets))
