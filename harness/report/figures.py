"""Numbers as people read them: sensible digits, a unit, and a dash where nothing is known."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

DASH = "\N{EM DASH}"
_MINUTE = 60.0
# An HDR cell with three significant digits is this narrow: one number says it all.
_ONE_CELL = 0.002
# Between a number and its unit, as in 5s and 80%.
_GLUED = re.compile(r"(?<=\d)(?=[a-z%])")


def number(value: object) -> float | None:
    """Read a number of verdicts.json, where infinity is the text "inf"; None stays None."""
    if value is None:
        return None
    found = float(value)  # type: ignore[arg-type]  # number or text, as the document's writer says
    return None if math.isnan(found) else found


def seconds(value: float | None) -> str:
    """Milliseconds below one second, seconds above, about three significant digits."""
    if value is None:
        return DASH
    if math.isinf(value):
        return "∞"
    if value < 0:
        return f"\N{MINUS SIGN}{seconds(-value)}"
    thousandths = _trimmed(value * 1000, 0 if value >= 0.01 else 2)
    if value < 1 and thousandths != "1000":
        return f"{thousandths} ms"
    return f"{_trimmed(value, 2 if value < 10 else 1 if value < 100 else 0)} s"


def duration(value: float | None) -> str:
    """A length of time such as a run's: whole minutes and seconds."""
    if value is None or value < _MINUTE:
        return seconds(value)
    minutes, rest = divmod(round(value), int(_MINUTE))
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def percent(share: float | None) -> str:
    """At most two decimals; never rounded to all or nothing when it is not."""
    if share is None:
        return DASH
    if share < 0:
        return f"\N{MINUS SIGN}{_trimmed(-100 * share, 2)} %"
    text = _trimmed(100 * share, 2)
    if text == "100" and share < 1:
        return "over 99.99 %"
    if text == "0" and share > 0:
        return "under 0.01 %"
    return f"{text} %"


def count(value: float | None) -> str:
    """A whole number with its thousands set apart."""
    return DASH if value is None else f"{value:,.0f}"


def usd(value: float | None) -> str:
    """US dollars: cents from one dollar on, three significant digits below."""
    if value is None:
        return DASH
    if value == 0 or abs(value) >= 1:
        return f"${value:,.2f}"
    return f"${_trimmed(value, 2 - math.floor(math.log10(abs(value))))}"


def rate(value: float | None) -> str:
    """Events per second."""
    return DASH if value is None else f"{_trimmed(value, 2)} /s"


def mean(value: float | None) -> str:
    """A mean of counts, which need not be whole."""
    return DASH if value is None else _trimmed(value, 2)


def size(value: float | None) -> str:
    """Bytes, as whole mebibytes."""
    return DASH if value is None else f"{value / 2**20:,.0f} MiB"


def amount(value: float | None, unit: str) -> str:
    """A number in the unit of its indicator."""
    if unit in ("s", "seconds"):
        return seconds(value)
    if unit == "USD":
        return usd(value)
    if unit == "%":
        return percent(value)
    return DASH if value is None else f"{value:,.4g} {unit}".rstrip()


def span(low: float | None, high: float | None, kind: str, unit: str = "") -> str:
    """
    An interval: one number where both ends read alike, else both.

    `kind` is the kind of the indicator, as in slo.yaml; with an open end it
    reads "over 5 s".
    """
    if low is None and high is None:
        return DASH
    if high is None or math.isinf(high):
        return f"over {_one(low, kind, unit)}"
    if low is None:
        return f"up to {_one(high, kind, unit)}"
    first, last = _one(low, kind, unit), _one(high, kind, unit)
    if first == last or (kind == "latency" and high - low <= _ONE_CELL * high):
        return last
    stem, _, same = first.rpartition(" ")
    return f"{stem if last.endswith(f' {same}') else first} to {last}"


def measured(measurement: Mapping[str, Any], indicator: Mapping[str, Any]) -> str:
    """What one witness answered: a latency's quantile, a share, a count or an amount."""
    of = measurement["quantile" if indicator["kind"] == "latency" else "value"]
    if of is None:
        return DASH
    return span(number(of["low"]), number(of["high"]), indicator["kind"], indicator["unit"])


def promise(objective: Mapping[str, Any]) -> str:
    """Write what was promised with the signs of mathematics, spaces and its currency."""
    text = objective["promise"].replace("<=", "≤").replace(">=", "≥")
    spaced = _GLUED.sub(" ", text)
    return f"{spaced} USD" if objective["indicator"]["unit"] == "USD" else spaced


def _one(value: float | None, kind: str, unit: str) -> str:
    if kind == "latency":
        return seconds(value)
    if kind == "ratio":
        return percent(value)
    return count(value) if kind == "count" else amount(value, unit)


def _trimmed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
