"""The metrics witness: what the server's Prometheus metrics say happened in a window."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.evidence.exposition import (
    ExpositionError,
    Fold,
    add,
    fold,
    parse,
    unknown_label,
    unmatched,
)
from harness.model import (
    Account,
    Buckets,
    Indicator,
    Interval,
    Kind,
    Measurement,
    Selector,
    Window,
)
from harness.runs import RunDirectory
from harness.slo import Reconciliation


class MetricsEvidence:
    """Two raw scrapes per window, folded into exact increases."""

    witness = "metrics"

    def __init__(self, run: RunDirectory, reconciliation: Reconciliation) -> None:
        """Parse and fold the scrapes of every window; problems are kept, not raised."""
        self._reconciliation = reconciliation
        self._folds: dict[str, Fold] = {}
        self._seconds: dict[str, float] = {}
        self._problems: dict[str, str] = {}
        for name in run.window_names():
            before, after = run.read_snapshot(name, "before"), run.read_snapshot(name, "after")
            if before is None or after is None or before.text is None or after.text is None:
                lost = [
                    f"{which} the window: {s.problem if s else 'not tried'}"
                    for which, s in (("before", before), ("after", after))
                    if s is None or s.text is None
                ]
                self._problems[name] = f"no scrape {'; none '.join(lost)}"
                continue
            self._seconds[name] = max(before.seconds, after.seconds)
            try:
                self._folds[name] = fold(parse(before.text), parse(after.text))
            except ExpositionError as error:
                self._problems[name] = f"a scrape cannot be read: {error}"
                continue
            if self._folds[name].resets:
                self._problems[name] = (
                    "the server's counters were reset within the window "
                    f"({self._folds[name].resets[0]}); what came before the reset is lost"
                )

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:
        """Answer from exact increases; None with a note when that is not possible."""
        ask = indicator.asks[self.witness]
        problems = [self._problems[w.name] for w in windows if w.name in self._problems]
        if problems:
            return Measurement(self.witness, None, 0, str(ask), note=problems[0])
        if ask.what == "scrape_seconds":
            seconds = [self._seconds[w.name] for w in windows]
            slowest = Interval.exactly(max(seconds))
            return Measurement(
                self.witness, slowest, 2 * len(seconds), "slowest scrape of /metrics"
            )
        joined = add([self._folds[w.name] for w in windows])
        try:
            return _answer(indicator, joined, str(ask))
        except ExpositionError as error:
            return Measurement(self.witness, None, 0, str(ask), note=str(error))

    def account(self, window: Window) -> Account | None:
        """Count requests, calls, tokens and durations of one window as the server saw them."""
        if window.name in self._problems:
            return Account(self.witness, problem=self._problems[window.name])
        folded = self._folds.get(window.name)
        if folded is None:
            return None
        asked = self._reconciliation
        for selector in asked.selectors:
            if problem := _unknown(folded, selector):
                return Account(self.witness, problem=problem)

        def count(selector: Selector | None) -> int | None:
            total = None if selector is None else folded.total(selector)
            return None if total is None else round(total)

        try:
            durations = _durations(folded, asked.requests)
            return Account(
                witness=self.witness,
                requests=durations.count if durations else None,
                llm_calls=count(asked.llm_calls),
                tool_calls=count(asked.tool_calls),
                input_tokens=count(asked.input_tokens),
                output_tokens=count(asked.output_tokens),
                server_durations=durations,
            )
        except ExpositionError as error:
            return Account(self.witness, problem=str(error))


def _durations(folded: Fold, requests: Selector | None) -> Buckets | None:
    """Times of all requests; none at all when the server knows the metric but saw no request."""
    if requests is None:
        return None
    return folded.buckets(requests) or Buckets((math.inf,), (0,), 0.0)


def _answer(indicator: Indicator, folded: Fold, asked: str) -> Measurement:
    parts = indicator.asks["metrics"].parts
    if problem := _unanswerable(folded, parts):
        return Measurement("metrics", None, 0, asked, note=problem)
    if indicator.kind is Kind.LATENCY:
        return _latency(indicator, folded, asked)
    if indicator.kind is Kind.COUNT:
        count = folded.total(parts["counter"]) or 0.0
        return Measurement("metrics", Interval.exactly(count), round(count), asked)
    total = folded.total(parts["total"]) or 0.0
    share_of = parts.get("good") or parts["bad"]
    if total <= 0:
        return Measurement("metrics", None, 0, asked, note=f"{parts['total']} counted nothing")
    part = folded.total(share_of) or 0.0
    if part > total:
        note = f"{share_of} counted {part:g}, more than its total of {total:g}"
        return Measurement("metrics", None, 0, asked, note=note)
    share = Interval.exactly(part / total)
    return Measurement("metrics", share, round(total), asked)


def _unanswerable(folded: Fold, parts: Mapping[str, Selector]) -> str:
    """Say why the server's metrics cannot answer; "" when they can."""
    for selector in parts.values():
        if problem := _unknown(folded, selector):
            return problem
        # A misspelt value matches nothing, and nothing bad looks like a kept promise.
        absent = unmatched(selector, folded.increases)
        if absent and selector.metric in folded.increases and not selector.absent_is_zero:
            return f"{absent}; if it only appears once it happens, say absent: zero"
    return ""


def _unknown(folded: Fold, selector: Selector) -> str:
    """Say that the server has no such metric or label; "" when it has."""
    if selector.metric not in folded.declared:
        return f"the server has no metric {selector.metric}"
    return unknown_label(selector, folded.increases)


def _latency(indicator: Indicator, folded: Fold, asked: str) -> Measurement:
    """Share of requests at or below the bound: exact when the bound is a bucket's edge."""
    if indicator.quantile is None or indicator.bound is None:
        msg = f"{indicator.name}: a latency needs a quantile and a bound"
        raise ValueError(msg)
    parts = indicator.asks["metrics"].parts
    buckets = folded.buckets(parts["histogram"])
    if buckets is None or not buckets.count:
        return Measurement("metrics", None, 0, asked, note=f"{parts['histogram']} counted nothing")
    failed = round(folded.total(parts["failed"]) or 0) if "failed" in parts else 0
    n = buckets.count
    below = [
        c for b, c in zip(buckets.bounds, buckets.cumulative, strict=True) if b <= indicator.bound
    ]
    above = [
        c for b, c in zip(buckets.bounds, buckets.cumulative, strict=True) if b >= indicator.bound
    ]
    surely = max(0, (below[-1] if below else 0) - failed)
    possibly = min(above[0], n - failed)
    exact = indicator.bound in buckets.bounds
    note = "" if exact else f"{indicator.bound:g} s is not an edge of its buckets"
    return Measurement(
        "metrics",
        Interval(min(surely, possibly) / n, possibly / n),
        n,
        asked,
        quantile=quantile(buckets.bounds, buckets.cumulative, indicator.quantile, failed),
        note=note,
    )


def quantile(
    bounds: tuple[float, ...], cumulative: tuple[int, ...], q: float, failed: int = 0
) -> Interval | None:
    """
    The bucket that holds the value of rank ceil(q * count): (lower, upper].

    Failed requests rank above every success, so with any the upper end may
    be infinite. Never interpolated: a bucket knows no more than its bounds.
    """
    n = cumulative[-1] if cumulative else 0
    if not n:
        return None
    rank = max(1, math.ceil(q * n - 1e-9))
    found = next(i for i, seen in enumerate(cumulative) if seen >= rank)
    lower = bounds[found - 1] if found else 0.0
    upper = math.inf if failed and rank > cumulative[found] - failed else bounds[found]
    return Interval(lower, upper)
