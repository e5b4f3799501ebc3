"""The Langfuse witness: what the traces say of requests, calls, tokens and cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from harness.evidence.views import TraceView, view
from harness.model import Account, Indicator, Interval, Kind, Measurement, Window
from harness.prices import PriceBook
from harness.runs import RunDirectory

Row = Mapping[str, Any]

NO_PRICES = "no prices.yaml was given"
_MILLISECOND = 0.001  # what Langfuse rounds its instants to


class LangfuseEvidence:
    """Observations of a run as Langfuse gave them, counted once per trace and id."""

    witness = "langfuse"

    def __init__(self, run: RunDirectory, prices: PriceBook | None) -> None:
        """
        Read the observations of every window; problems are kept, not raised.

        Without prices, no cost can be recomputed.
        """
        self._prices = prices
        self._rows: dict[str, list[Row]] = {}
        self._problems: dict[str, str] = {}
        for name in run.window_names():
            rows, collection = run.read_observations(name)
            if collection is None:
                self._problems[name] = "its observations were never read"
            elif collection.problem and not rows:
                self._problems[name] = collection.problem
            else:
                self._rows[name] = once(rows)

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:
        """Answer from the observations; None with a note when there are none."""
        what = indicator.asks[self.witness].what
        asked = f"{what} of {', '.join(w.name for w in windows)}"
        problems = [self._problems[w.name] for w in windows if w.name in self._problems]
        if problems:
            return Measurement(self.witness, None, 0, asked, note=problems[0])
        rows = [row for w in windows for row in self._rows.get(w.name, ())]
        if indicator.kind is Kind.AMOUNT:
            return _usd_per_request(rows, asked)
        if indicator.kind is Kind.LATENCY:
            return _latency(indicator, rows, asked)
        kind = {"generations_ok": "GENERATION", "tools_ok": "TOOL"}.get(what)
        asked_of = [r for r in rows if (r.get("type") == kind if kind else is_root(r))]
        if not asked_of:
            return Measurement(self.witness, None, 0, asked, note="it holds no such observation")
        good = sum(r.get("level") != "ERROR" for r in asked_of)
        share = Interval.exactly(good / len(asked_of))
        return Measurement(self.witness, share, len(asked_of), asked)

    def account(self, window: Window) -> Account | None:
        """Count traces, calls, tokens and cost of one window as Langfuse holds them."""
        if window.name in self._problems:
            return Account(self.witness, problem=self._problems[window.name])
        rows = self._rows.get(window.name)
        if rows is None:
            return None
        types = Counter(str(r.get("type")) for r in rows)
        return Account(
            witness=self.witness,
            requests=sum(is_root(r) for r in rows),
            llm_calls=types["GENERATION"],
            tool_calls=types["TOOL"],
            input_tokens=sum(tokens(r, "input") for r in rows),
            output_tokens=sum(tokens(r, "output") for r in rows),
            cost_usd=_cost(rows),
            traces=frozenset(str(r.get("traceId")) for r in rows if is_root(r)),
        )

    def view(self, window: Window) -> TraceView | None:
        """Sum up what the traces of one window show, for the report; None without any."""
        rows = self._rows.get(window.name)
        return None if rows is None else view(rows)

    def recomputed_cost(self, window: Window) -> tuple[float | None, str]:
        """Price the usage of every generation anew: (USD, what could not be priced)."""
        rows = self._rows.get(window.name)
        if rows is None:
            return None, self._problems.get(window.name, "no observations")
        if self._prices is None:
            return None, NO_PRICES
        total = 0.0
        generations = [r for r in rows if r.get("type") == "GENERATION"]
        if not generations:
            return None, "it holds no LLM call"
        for row in generations:
            usage = row.get("usageDetails") or {}
            if not usage:
                return None, f"generation {row.get('id')} carries no usage"
            try:
                total += self._prices.cost(str(row.get("model")), usage)
            except LookupError as error:
                return None, str(error)
        return total, ""


def once(rows: Sequence[Row]) -> list[Row]:
    """
    Keep one row per trace and id, the last one read.

    Langfuse may show an observation twice until its storage merges the
    versions, which would count tokens and cost double (langfuse #14725).
    """
    return list({(r.get("traceId"), r.get("id")): r for r in rows}.values())


def is_root(row: Row) -> bool:
    """Whether the observation is the root of its trace: one per request."""
    return bool(row.get("isRootObservation"))


def tokens(row: Row, direction: str) -> int:
    """Tokens of one direction, cached and reasoning ones included."""
    usage = row.get("usageDetails") or {}
    return sum(int(n) for key, n in usage.items() if direction in key)


def _cost(rows: Sequence[Row]) -> float | None:
    """USD for all observations; None when a generation is unpriced, or there is none at all."""
    generations = [r for r in rows if r.get("type") == "GENERATION"]
    if not generations or not all(r.get("totalCost") for r in generations):
        return None
    return sum(float(r.get("totalCost") or 0) for r in rows)


def _usd_per_request(rows: Sequence[Row], asked: str) -> Measurement:
    requests = sum(is_root(r) for r in rows)
    if not requests:
        return Measurement("langfuse", None, 0, asked, note="it holds no trace")
    usd = _cost(rows)
    if usd is None:
        note = "it holds LLM calls without a cost, or none; are all models priced there?"
        return Measurement("langfuse", None, 0, asked, note=note)
    return Measurement("langfuse", Interval.exactly(usd / requests), requests, asked)


def _latency(indicator: Indicator, rows: Sequence[Row], asked: str) -> Measurement:
    if indicator.quantile is None or indicator.bound is None:
        msg = f"{indicator.name}: a latency needs a quantile and a bound"
        raise ValueError(msg)
    # No latency means below a millisecond; a failed request ranks above every success.
    taken = sorted(
        math.inf if r.get("level") == "ERROR" else float(r.get("latency") or 0)
        for r in rows
        if is_root(r)
    )
    if not taken:
        return Measurement("langfuse", None, 0, asked, note="it holds no trace")
    surely = sum(t + _MILLISECOND <= indicator.bound for t in taken)
    possibly = sum(t - _MILLISECOND <= indicator.bound for t in taken)
    at = taken[max(1, math.ceil(indicator.quantile * len(taken) - 1e-9)) - 1]
    return Measurement(
        "langfuse",
        Interval(surely / len(taken), possibly / len(taken)),
        len(taken),
        asked,
        quantile=Interval(max(0.0, at - _MILLISECOND), at + _MILLISECOND),
    )
