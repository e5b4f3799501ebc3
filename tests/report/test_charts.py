from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from harness.report.charts import Seen, interval_chart, percentile_plot

CURVE = pd.DataFrame(
    {
        "response": [0.2, 0.4, 0.8],
        "service": [0.19, 0.39, 0.79],
        "lower": [0.1, 0.25, 0.5],
        "upper": [0.25, 0.5, 1.0],
    },
    index=[0.5, 0.9, 0.99],
)


def drawn(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def points(element: ET.Element | None) -> list[tuple[float, float]]:
    assert element is not None
    return [tuple(map(float, p.split(","))) for p in element.attrib["points"].split()]


def test_the_nines_are_equally_far_apart() -> None:
    ticks = {
        t.text: float(t.attrib["x"])
        for t in drawn(percentile_plot("warm", CURVE, [])).iter("text")
        if t.attrib["class"] == "tick" and "%" in (t.text or "")
    }
    assert ticks == {"50 %": 138.2, "90 %": 306.0, "99 %": 546.0}
    assert ticks["99 %"] - ticks["90 %"] == pytest.approx(ticks["90 %"] - 66.0)


def test_the_line_rises_where_the_times_do() -> None:
    line = points(drawn(percentile_plot("warm", CURVE, [])).find("polyline[@class='response']"))
    # From the bottom (y 286) to the top (y 30) are 0 to 1 s.
    assert line == [(138.2, 234.8), (306.0, 183.6), (546.0, 81.2)]


def test_the_band_spans_all_that_is_possible_between_two_quantiles() -> None:
    band = points(drawn(percentile_plot("warm", CURVE, [])).find("polygon"))
    above, below = band[:5], band[5:][::-1]
    assert above == [(138.2, 222.0), (138.2, 158.0), (306.0, 158.0), (306.0, 30.0), (546.0, 30.0)]
    assert below == [
        (138.2, 260.4), (306.0, 260.4), (306.0, 222.0), (546.0, 222.0), (546.0, 158.0),
    ]  # fmt: skip


def test_failed_requests_leave_through_the_top() -> None:
    failing = CURVE.assign(response=[0.2, 0.4, math.inf])
    line = points(drawn(percentile_plot("warm", failing, [])).find("polyline[@class='response']"))
    assert line[-1] == (546.0, 30.0)


@pytest.mark.parametrize(
    ("bound", "lines", "name"),
    [
        pytest.param(0.9, 1, "p95 is kept", id="a limit inside is a line"),
        pytest.param(5.0, 0, "p95 is kept ↑", id="one above is said to be above"),
    ],
)
def test_limits(bound: float, lines: int, name: str) -> None:
    svg = drawn(percentile_plot("warm", CURVE, [("p95 is kept", bound)]))
    assert len(svg.findall("line[@class='limit']")) == lines
    assert [t.text for t in svg.findall("text[@class='limit-name']")] == [name]


def test_the_plot_says_in_words_what_it_shows() -> None:
    svg = drawn(percentile_plot("<warm>", CURVE, []))
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-label"] == (
        "Percentile plot of <warm>: "
        "p50 client response 200 ms, service 190 ms, server 100 to 250 ms; "
        "p99 client response 800 ms, service 790 ms, server 500 ms to 1 s"
    )
    assert json.loads(svg.attrib["data-points"])[1] == [
        306.0,
        "90 %: client response 400 ms, service 390 ms, server 250 to 500 ms",
    ]


def test_nothing_known_is_no_plot() -> None:
    empty = pd.DataFrame(columns=["response", "service", "lower", "upper"], dtype="float64")
    assert percentile_plot("warm", empty, []) == ""


def test_a_share_is_a_dot_with_a_whisker_beside_its_target() -> None:
    svg = drawn(
        interval_chart(
            "hits", [Seen("metrics", 0.9, 0.9, 0.85, 0.95)], 0.8, at_least=True, share=True
        )
    )
    dot, target = svg.find("circle"), svg.find("line[@class='target']")
    whisker = svg.find("line[@class='whisker']")
    assert dot is not None
    assert target is not None
    assert whisker is not None
    # 0.80, 0.85, 0.90 and 0.95 are equally far apart.
    xs = [target.attrib["x1"], whisker.attrib["x1"], dot.attrib["cx"], whisker.attrib["x2"]]
    assert [float(x) for x in xs] == [28.7, 63.9, 99.1, 134.3]


def test_a_bucket_is_a_bar_and_infinity_ends_at_the_edge() -> None:
    svg = drawn(
        interval_chart("p95", [Seen("client", 2.0, math.inf)], 5.0, at_least=False, share=False)
    )
    bar = svg.find("line[@class='range']")
    assert bar is not None
    assert float(bar.attrib["x2"]) == 147.0


def test_an_amount_below_nothing_is_drawn_left_of_it() -> None:
    seen = [Seen("benchmark", -0.02, 0.02), Seen("metrics", 0.0, 0.0)]
    svg = drawn(interval_chart("added", seen, 0.03, at_least=False, share=False))
    bar, zero, target = (
        svg.find("line[@class='range']"), svg.find("circle"), svg.find("line[@class='target']"),
    )  # fmt: skip
    assert bar is not None
    assert zero is not None
    assert target is not None
    # -0.02, 0 and 0.02 are equally far apart, and 0.03 is half as far.
    xs = [bar.attrib["x1"], zero.attrib["cx"], bar.attrib["x2"], target.attrib["x1"]]
    low, nothing, high, bound = map(float, xs)
    assert nothing - low == pytest.approx(high - nothing, abs=0.11)
    assert bound - high == pytest.approx((high - nothing) / 2, abs=0.11)


def test_a_witness_without_data_is_a_dash() -> None:
    svg = drawn(
        interval_chart(
            "p95",
            [Seen("client", 1, 1), Seen("metrics", None, None)],
            5,
            at_least=False,
            share=False,
        )
    )
    assert [t.text for t in svg.iter("text")] == ["C", "M", "—"]


def test_no_data_at_all_is_no_chart() -> None:
    seen = [Seen("metrics", None, None)]
    assert interval_chart("p95", seen, 5.0, at_least=False, share=False) == ""
