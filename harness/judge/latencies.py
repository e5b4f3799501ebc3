"""Quantiles of every witness side by side, with confidence intervals, for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.judge.statistics import quantile_ranks
from harness.model import Ask, Evidence, Indicator, Interval, Kind, Selector, Window

QUANTILES = (0.5, 0.95, 0.99)
# Dense towards one, where the slow requests are.
CURVE = (
    *(round(i / 20, 2) for i in range(1, 19)),
    *(0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999),
)
_CONFIDENCE = 0.95
# A time of all requests: promises are about chats, where there are any.
OF_EVERYTHING = " of everything"
_OF_REQUESTS = tuple(f"{time}{OF_EVERYTHING}" for time in ("response_time", "service_time"))
_OF_STREAMS = ("ttft", "tpot", "inter_token")


@dataclass(frozen=True, slots=True)
class Quantile:
    """
    One quantile of one time, seen by one witness in one window.

    `value` is where the sample's quantile lies (a bucket, or an HDR cell);
    `confidence` is where the true one lies with 95 % confidence, None for an
    end that so few events cannot give.
    """

    window: str
    witness: str
    time: str
    quantile: float
    events: int
    value: Interval | None
    confidence: tuple[float | None, float | None]


def latencies(
    windows: Sequence[Window], evidence: Mapping[str, Evidence], requests: Selector | None
) -> tuple[list[Quantile], list[Quantile]]:
    """Quantiles for the table, and quantiles for the curve, of every window and witness."""
    table, curve = [], []
    for window in windows:
        for witness, ask in _asks(requests):
            if witness not in evidence:
                continue
            table += [_quantile(evidence[witness], window, ask, q) for q in QUANTILES]
            if ask.what in (*_OF_REQUESTS, ""):
                curve += [
                    found
                    for q in CURVE
                    if (found := _quantile(evidence[witness], window, ask, q)).events * (1 - q)
                    >= 1
                ]
    return [q for q in table if q.events], curve


def _asks(requests: Selector | None) -> list[tuple[str, Ask]]:
    asks = [("client", Ask(what)) for what in (*_OF_REQUESTS, *_OF_STREAMS)]
    if requests is not None:
        asks.append(("metrics", Ask(parts={"histogram": requests})))
    asks.append(("langfuse", Ask("trace_latency")))
    return asks


def _quantile(evidence: Evidence, window: Window, ask: Ask, q: float) -> Quantile:
    seen = _measure(evidence, window, ask, q)
    # The gaps of one stream are not independent, so nothing is known of theirs.
    alone = ask.what != "inter_token"
    low, high = quantile_ranks(q, seen[1], _CONFIDENCE) if seen[1] and alone else (None, None)
    ends = tuple(
        None if rank is None else _measure(evidence, window, ask, rank / seen[1])[0]
        for rank in (low, high)
    )
    return Quantile(
        window=window.name,
        witness=evidence.witness,
        time=ask.what.removesuffix(OF_EVERYTHING) or "request time",
        quantile=q,
        events=seen[1],
        value=seen[0],
        confidence=(
            None if ends[0] is None else ends[0].low,
            None if ends[1] is None else ends[1].high,
        ),
    )


def _measure(
    evidence: Evidence, window: Window, ask: Ask, q: float
) -> tuple[Interval | None, int]:
    # The bound is not used: only the quantile is looked at.
    indicator = Indicator("shown", Kind.LATENCY, {evidence.witness: ask}, quantile=q, bound=1.0)
    measured = evidence.measure(indicator, (window,))
    return measured.quantile, measured.events
