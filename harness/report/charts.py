"""
Charts drawn as SVG, with nothing but arithmetic.

Each is an image with a label for those who cannot see it; colours come from the
page's style sheet, so a chart follows dark and light by itself. The same
numbers always stand in a table beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup, escape

from harness.report import figures

_WIDTH, _HEIGHT = 560.0, 330.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 14.0, 30.0, 44.0
_NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
_STEPS = (1, 2, 2.5, 5, 10)

_END, _MIDDLE = 'text-anchor="end"', 'text-anchor="middle"'

_ROW, _WIDE, _INDENT = 14.0, 150.0, 16.0


@dataclass(frozen=True, slots=True)
class Seen:
    """One witness's answer as an interval chart draws it: a mark, and a whisker around it."""

    witness: str
    low: float | None
    high: float | None
    least: float | None = None
    most: float | None = None


def percentile_plot(title: str, curve: pd.DataFrame, limits: Sequence[tuple[str, float]]) -> str:
    """
    Times (seconds) over quantiles on the nines axis: 50, 90, 99, 99.9 %.

    The client is a line and the server a band as wide as its buckets; between
    two known quantiles the band spans all that is possible. `limits` are the
    promised bounds (name, seconds). Gives "" when nothing is known.
    Source of the axis: the percentile plots of HdrHistogram.
    """
    top = _top(curve)
    if top is None:
        return ""
    axes = _Axes(max(float(curve.index[-1]), 0.9), top)
    body = [
        *_grid(axes),
        _band(axes, curve),
        _line(axes, curve["service"], "service"),
        _line(axes, curve["response"], "response"),
        *_limits(axes, limits),
        f'<line class="guide" x1="0" x2="0" y1="{_TOP:g}" y2="{_HEIGHT - _BOTTOM:g}" hidden=""/>',
    ]
    label = f"Percentile plot of {title}: {_in_words(curve)}"
    attributes = {
        "class": "plot",
        "viewBox": f"0 0 {_WIDTH:g} {_HEIGHT:g}",
        "data-points": _points(axes, curve),
    }
    return image(label, attributes, body)


def interval_chart(
    label: str, seen: Sequence[Seen], target: float, *, at_least: bool, share: bool
) -> str:
    """
    A line per witness: what it saw, how sure that is, and which side of the target was promised.

    A share is drawn on a piece of 0 to 1 that shows it well, anything else from 0
    or from what is below it.
    """
    ends = [v for s in seen for v in (s.low, s.high, s.least, s.most) if v is not None]
    finite = [v for v in ends if math.isfinite(v)]
    if not finite:
        return ""
    low, high = min(*finite, target if share else 0.0), max(*finite, target)
    room = 0.12 * (high - low) or 0.1
    low, high = low - room if low < 0 else max(0.0, low - room), high + room
    if share:
        high = min(1.0, high)

    def x(value: float) -> float:
        inner = min(1.0, max(0.0, (value - low) / (high - low)))
        return round(_INDENT + inner * (_WIDE - _INDENT - 3), 1)

    height = _ROW * len(seen) + 4
    at = x(target)
    start, end = (at, x(high)) if at_least else (x(low), at)
    width = max(0.0, end - start)
    parts = [
        f'<rect class="promised" x="{start:g}" y="0" width="{width:g}" height="{height:g}"/>',
        *(_witness_row(s, 2 + _ROW * (i + 0.5), x) for i, s in enumerate(seen)),
        f'<line class="target" x1="{at:g}" x2="{at:g}" y1="0" y2="{height:g}"/>',
    ]
    attributes = {
        "class": "intervals",
        "width": f"{_WIDE:g}",
        "height": f"{height:g}",
        "viewBox": f"0 0 {_WIDE:g} {height:g}",
    }
    return image(label, attributes, parts)


def image(label: str, attributes: Mapping[str, str], parts: Sequence[str]) -> str:
    """Put a drawing together; text that others wrote was escaped where it entered the parts."""
    written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    whole = f'<svg role="img" aria-label="{escape(label)}"{written}>{"".join(parts)}</svg>'
    return Markup(whole)  # noqa: S704  # made of numbers, our own tags and escaped text


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where a quantile and a time lie in the drawing; times above the top are cut at it."""

    last: float
    top: float

    def x(self, quantile: float) -> float:
        nines = math.log10(1 - min(quantile, self.last)) / math.log10(1 - self.last)
        return round(_LEFT + nines * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, seconds: float) -> float:
        share = min(max(seconds, 0.0) / self.top, 1.0)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP), 1)


def _top(curve: pd.DataFrame) -> float | None:
    """A round number of seconds above the client's slowest and, in reason, the server's band."""
    client = _finite(curve["response"])
    server = _finite(curve["upper"])
    if not client and not server:
        return None
    # A wide last bucket must not press the client's curve flat.
    highest = max(client) * 1.05 if client else max(server)
    if client and server:
        highest = max(highest, min(max(server), 1.5 * max(client)))
    step = step_of(highest)
    return step * math.ceil(highest / step - 1e-9)


def step_of(highest: float) -> float:
    """Choose a round distance between the ticks of a scale from 0 to this."""
    rough = (highest or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(s * power for s in _STEPS if s * power >= rough * (1 - 1e-9))


def _finite(values: pd.Series[float]) -> list[float]:
    return [float(v) for v in values if math.isfinite(v)]


def _grid(axes: _Axes) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    step = step_of(axes.top)
    for i in range(round(axes.top / step) + 1):
        y = axes.y(i * step)
        parts.append(f'<line class="grid" x1="{_LEFT:g}" x2="{right:g}" y1="{y:g}" y2="{y:g}"/>')
        text = figures.seconds(i * step) if i else "0"
        parts.append(f'<text class="tick" x="{_LEFT - 8:g}" y="{y + 4:g}" {_END}>{text}</text>')
    for q in _NINES:
        if q <= axes.last:
            x = axes.x(q)
            parts.append(
                f'<line class="grid" x1="{x:g}" x2="{x:g}" y1="{_TOP:g}" y2="{bottom:g}"/>'
            )
            text = figures.percent(q) if q else "0"
            parts.append(
                f'<text class="tick" x="{x:g}" y="{bottom + 18:g}" {_MIDDLE}>{text}</text>'
            )
    parts.append(
        f'<text class="axis" x="{right:g}" y="{_HEIGHT - 6:g}" {_END}>of requests took at most '
        "this long</text>"
    )
    return parts


def _band(axes: _Axes, curve: pd.DataFrame) -> str:
    """All that the server's buckets allow: between two quantiles, lower of one to upper of two."""
    known = curve[["lower", "upper"]].dropna()
    if known.empty:
        return ""
    xs = [axes.x(float(q)) for q in known.index]
    lows, highs = ([axes.y(float(v)) for v in known[name]] for name in ("lower", "upper"))
    above = [f"{xs[0]:g},{highs[0]:g}"]
    below = [f"{xs[0]:g},{lows[0]:g}"]
    for i in range(1, len(xs)):
        above += [f"{xs[i - 1]:g},{highs[i]:g}", f"{xs[i]:g},{highs[i]:g}"]
        below += [f"{xs[i]:g},{lows[i - 1]:g}", f"{xs[i]:g},{lows[i]:g}"]
    return f'<polygon class="server" points="{" ".join([*above, *reversed(below)])}"/>'


def _line(axes: _Axes, times: pd.Series[float], name: str) -> str:
    """Draw the client's times; where requests failed it leaves through the top."""
    known = times.dropna()
    if known.empty:
        return ""
    points = [
        f"{axes.x(float(q)):g},{axes.y(v):g}" for q, v in zip(known.index, known, strict=True)
    ]
    return f'<polyline class="{name}" points="{" ".join(points)}"/>'


def _limits(axes: _Axes, limits: Sequence[tuple[str, float]]) -> list[str]:
    """Draw each promised bound as a line, or say that it lies above the drawing."""
    parts = []
    beyond = []
    right = _WIDTH - _RIGHT
    for name, bound in limits:
        text = escape(name)
        if bound > axes.top:
            beyond.append(f"{text} ↑")
            continue
        y = axes.y(bound)
        parts.append(f'<line class="limit" x1="{_LEFT:g}" x2="{right:g}" y1="{y:g}" y2="{y:g}"/>')
        # The curve is low on the left and high on the right: the name goes where it is not.
        low = bound < axes.top / 2
        x, anchor = (right - 6, _END) if low else (_LEFT + 6, "")
        parts.append(f'<text class="limit-name" x="{x:g}" y="{y - 5:g}" {anchor}>{text}</text>')
    if beyond:
        names = ", ".join(beyond)
        parts.append(
            f'<text class="limit-name" x="{_LEFT + 6:g}" y="{_TOP - 10:g}">{names}</text>'
        )
    return parts


def _points(axes: _Axes, curve: pd.DataFrame) -> str:
    """What hovering shows: where each quantile lies, and its numbers in words."""
    return json.dumps(
        [
            [axes.x(float(q)), f"{figures.percent(float(q))}: {_words_at(curve, q)}"]
            for q in curve.index
        ],
        ensure_ascii=False,
    )


def _words_at(curve: pd.DataFrame, quantile: float) -> str:
    row = curve.loc[[quantile]].iloc[0]
    parts = []
    for column, name in (("response", "client response"), ("service", "service")):
        value = figures.number(row[column])
        if value is not None:
            parts.append(f"{name} {'failed' if math.isinf(value) else figures.seconds(value)}")
    lower, upper = figures.number(row["lower"]), figures.number(row["upper"])
    if lower is not None:
        parts.append(f"server {figures.span(lower, upper, 'latency')}")
    return ", ".join(parts)


def _in_words(curve: pd.DataFrame) -> str:
    shown = [q for q in (0.5, 0.95, 0.99) if q in curve.index]
    return "; ".join(f"p{100 * q:g} {_words_at(curve, q)}" for q in shown)


def _witness_row(seen: Seen, y: float, x: Callable[[float], float]) -> str:
    initial = (
        f'<text class="initial" x="0" y="{y + 3.5:g}">{escape(seen.witness[:1].upper())}</text>'
    )
    if seen.low is None or seen.high is None:
        return (
            f'{initial}<text class="initial" x="{_INDENT:g}" y="{y + 3.5:g}">{figures.DASH}</text>'
        )
    parts = [initial]
    if seen.least is not None and seen.most is not None:
        parts.append(_segment("whisker", x(seen.least), x(seen.most), y))
    start, end = x(seen.low), x(seen.high)
    if end - start > 3:
        parts.append(_segment("range", start, end, y))
    else:
        parts.append(f'<circle class="seen" cx="{(start + end) / 2:g}" cy="{y:g}" r="3.5"/>')
    return "".join(parts)


def _segment(name: str, start: float, end: float, y: float) -> str:
    return f'<line class="{name}" x1="{start:g}" x2="{end:g}" y1="{y:g}" y2="{y:g}"/>'
