from __future__ import annotations

import math

import pytest

from harness.report import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "—", id="nobody knows"),
        pytest.param(0.0, "0 ms", id="none at all"),
        pytest.param(0.000351, "0.35 ms", id="below a millisecond"),
        pytest.param(0.0042, "4.2 ms", id="a few milliseconds"),
        pytest.param(0.540159, "540 ms", id="below a second"),
        pytest.param(0.9996, "1 s", id="rounds up to a second"),
        pytest.param(1.334, "1.33 s", id="seconds"),
        pytest.param(12.34, "12.3 s", id="tens of seconds"),
        pytest.param(123.4, "123 s", id="minutes, still in seconds"),
        pytest.param(-0.3, "\N{MINUS SIGN}300 ms", id="negative"),
        pytest.param(math.inf, "∞", id="without end"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert figures.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "—", id="did not end"),
        pytest.param(40.0, "40 s", id="below a minute"),
        pytest.param(80.2, "1 min 20 s", id="minutes and seconds"),
        pytest.param(120.0, "2 min", id="whole minutes"),
    ],
)
def test_duration(value: float | None, text: str) -> None:
    assert figures.duration(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        pytest.param(None, "—", id="nobody knows"),
        pytest.param(0.9851327, "98.51 %", id="two decimals"),
        pytest.param(0.95, "95 %", id="no needless decimals"),
        pytest.param(1.0, "100 %", id="all"),
        pytest.param(0.99999, "over 99.99 %", id="nearly all is not all"),
        pytest.param(0.0, "0 %", id="none"),
        pytest.param(0.00001, "under 0.01 %", id="next to none is not none"),
    ],
)
def test_percent(share: float | None, text: str) -> None:
    assert figures.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "—", id="nobody knows"),
        pytest.param(0.0, "$0.00", id="nothing"),
        pytest.param(0.00018, "$0.00018", id="small sums keep their digits"),
        pytest.param(0.13652, "$0.137", id="three digits below a dollar"),
        pytest.param(1234.5, "$1,234.50", id="cents above"),
    ],
)
def test_usd(value: float | None, text: str) -> None:
    assert figures.usd(value) == text


@pytest.mark.parametrize(
    ("ends", "kind", "unit", "text"),
    [
        pytest.param((0.539648, 0.540159), "latency", "s", "540 ms", id="an HDR cell is a number"),
        pytest.param((0.35, 0.5), "latency", "s", "350 to 500 ms", id="a unit is said once"),
        pytest.param((0.5, 1.0), "latency", "s", "500 ms to 1 s", id="two units"),
        pytest.param((5.0, math.inf), "latency", "s", "over 5 s", id="the last bucket"),
        pytest.param((5.0, None), "latency", "s", "over 5 s", id="an open end above"),
        pytest.param((None, 5.0), "latency", "s", "up to 5 s", id="an open end below"),
        pytest.param((None, None), "latency", "s", "—", id="nobody knows"),
        pytest.param((0.95, 0.97), "ratio", "", "95 to 97 %", id="shares"),
        pytest.param((3, 3), "count", "", "3", id="a count"),
        pytest.param((0.02, 0.02), "amount", "s", "20 ms", id="an amount of time"),
        pytest.param((2.5, 2.5), "amount", "GB", "2.5 GB", id="an amount of something"),
        pytest.param(
            (-0.01, 0.03),
            "amount",
            "%",
            "\N{MINUS SIGN}1 to 3 %",
            id="a share that may be negative",
        ),
        pytest.param(
            (-0.04, -0.015),
            "amount",
            "%",
            "\N{MINUS SIGN}4 to \N{MINUS SIGN}1.5 %",
            id="less than nothing",
        ),
        pytest.param((1.12, 1.18), "amount", "", "1.12 to 1.18", id="a plain number"),
    ],
)
def test_span(ends: tuple[float | None, float | None], kind: str, unit: str, text: str) -> None:
    assert figures.span(*ends, kind, unit) == text


@pytest.mark.parametrize(
    ("written", "found"),
    [
        pytest.param("inf", math.inf, id="infinity is written as text"),
        pytest.param(None, None, id="nothing"),
        pytest.param(math.nan, None, id="a hole in a frame"),
        pytest.param(200, 200.0, id="a number"),
    ],
)
def test_number(written: object, found: float | None) -> None:
    assert figures.number(written) == found


@pytest.mark.parametrize(
    ("promise", "unit", "text"),
    [
        pytest.param("p95 <= 5s", "s", "p95 ≤ 5 s", id="latency"),
        pytest.param(">= 99.5%", "", "≥ 99.5 %", id="share"),
        pytest.param("<= 0.002", "USD", "≤ 0.002 USD", id="cost names its currency"),
    ],
)
def test_promise(promise: str, unit: str, text: str) -> None:
    assert figures.promise({"promise": promise, "indicator": {"unit": unit}}) == text


def test_small_things() -> None:
    assert (figures.count(200000), figures.count(None)) == ("200,000", "—")
    assert (figures.rate(5.0), figures.rate(None)) == ("5 /s", "—")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "—", id="unknown"),
        pytest.param(90 * 2**20, "90 MiB", id="a process"),
        pytest.param(2000 * 2**20, "2,000 MiB", id="thousands apart"),
    ],
)
def test_sizes(value: float | None, text: str) -> None:
    assert figures.size(value) == text
