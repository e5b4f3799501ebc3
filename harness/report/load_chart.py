"""How the load processes fared, second by second, drawn as SVG: two strips over one clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd

from harness.report import figures
from harness.report.charts import image, step_of

_WIDTH, _HEIGHT = 560.0, 236.0
_LEFT, _RIGHT = 66.0, 14.0
# Where each strip begins and ends.
_DELAYS, _CPU = (16.0, 108.0), (130.0, 208.0)
_LINES = 8
_END, _MIDDLE = 'text-anchor="end"', 'text-anchor="middle"'


def load_chart(title: str, moments: pd.DataFrame, piece: float) -> str:
    """
    Lateness and loop lag (seconds) above, CPU shares below, over the seconds of a window.

    `moments` has a row per piece of the window, `piece` seconds long, with the
    columns of tables.generator. Of many processes only the eight busiest are
    drawn. Gives "" when the load processes noted nothing.
    """
    if moments.empty:
        return ""
    last = float(moments.index[-1])
    cpu = [name for name in moments.columns if name.startswith("cpu ")]
    busiest = moments[cpu].mean().sort_values(ascending=False, kind="stable").index[:_LINES]
    delays = max(float(moments[["lateness", "loop_lag"]].max().max()), 0.01)
    shares = max(1.0, float(moments[[*cpu, "machine"]].max().max()))

    def x(at: float) -> float:
        return round(_LEFT + at / last * (_WIDTH - _LEFT - _RIGHT), 1)

    parts = [*_scale(_DELAYS, delays, figures.seconds), *_scale(_CPU, shares, figures.percent)]
    step = step_of(last)
    parts += [
        f'<text class="tick" x="{x(n * step):g}" y="{_HEIGHT - 10:g}" {_MIDDLE}>'
        f"{figures.seconds(n * step) if n else 0}</text>"
        for n in range(int(last / step + 1e-9) + 1)
    ]
    parts += _lines(x, moments["loop_lag"], "lag", _DELAYS, delays, piece)
    parts += _lines(x, moments["lateness"], "late", _DELAYS, delays, piece)
    parts += _lines(x, moments["machine"], "machine", _CPU, shares, piece)
    for name in busiest:
        parts += _lines(x, moments[name], "cpu", _CPU, shares, piece)
    late = figures.number(moments["lateness"].max())
    sent = "" if late is None else f"sent up to {figures.seconds(late)} late, "
    label = (
        f"How the load processes of {title} fared: {sent}loop up to "
        f"{figures.seconds(float(moments['loop_lag'].max()))} late, up to "
        f"{figures.percent(float(moments[cpu].max().max()))} of a core"
    )
    attributes = {"class": "fared", "viewBox": f"0 0 {_WIDTH:g} {_HEIGHT:g}"}
    return image(label, attributes, parts)


def _y(strip: tuple[float, float], top: float, value: float) -> float:
    return round(strip[1] - min(value / top, 1.0) * (strip[1] - strip[0]), 1)


def _scale(
    strip: tuple[float, float], top: float, write: Callable[[float | None], str]
) -> list[str]:
    """Draw the bottom and the top of a strip, with what the top stands for."""
    right = _WIDTH - _RIGHT
    parts = []
    for value, text in ((0.0, "0"), (top, write(top))):
        y = _y(strip, top, value)
        parts += [
            f'<line class="grid" x1="{_LEFT:g}" x2="{right:g}" y1="{y:g}" y2="{y:g}"/>',
            f'<text class="tick" x="{_LEFT - 8:g}" y="{y + 4:g}" {_END}>{text}</text>',
        ]
    return parts


def _lines(
    x: Callable[[float], float],
    values: pd.Series[float],
    name: str,
    strip: tuple[float, float],
    top: float,
    piece: float,
) -> list[str]:
    """Draw a line through what is known, with a gap where nothing is."""
    runs: list[list[tuple[float, float]]] = []
    before = -math.inf
    for at, value in values.dropna().items():
        offset = float(str(at))
        if offset - before > 1.5 * piece:
            runs.append([])
        runs[-1].append((offset, value))
        before = offset
    return [_run(x, run, name, strip, top, piece) for run in runs]


def _run(
    x: Callable[[float], float],
    run: Sequence[tuple[float, float]],
    name: str,
    strip: tuple[float, float],
    top: float,
    piece: float,
) -> str:
    if len(run) == 1:  # a point would not be seen
        at, value = run[0]
        run = [(max(0.0, at - piece), value), (at, value)]
    points = " ".join(f"{x(at):g},{_y(strip, top, value):g}" for at, value in run)
    return f'<polyline class="{name}" points="{points}"/>'
