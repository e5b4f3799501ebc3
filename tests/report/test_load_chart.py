"""How the load processes fared, as two strips of lines."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.report import tables
from harness.report.load_chart import load_chart


def moment(at: float, **changes: Any) -> dict[str, Any]:
    return {
        "at": at, "lateness": 0.01, "loop_lag": 0.02, "machine": 0.5, "cpu": [0.25], **changes,
    }  # fmt: skip


def chart(*moments: dict[str, Any], processes: int = 1, piece: float = 1.0) -> str:
    generator = {
        "processes": [{"process": p} for p in range(processes)],
        "piece": piece,
        "moments": list(moments),
    }
    return load_chart("warm <b>", tables.generator({"generator": generator}), piece)


def lines(drawn: str, name: str) -> list[list[tuple[float, float]]]:
    found = re.findall(rf'<polyline class="{name}" points="([^"]*)"', drawn)
    return [[tuple(map(float, p.split(","))) for p in line.split()] for line in found]  # type: ignore[misc]


def test_nothing_noted_is_no_chart() -> None:
    assert chart(processes=0) == ""


def test_time_runs_to_the_right_and_more_is_higher() -> None:
    drawn = chart(moment(1.0), moment(2.0, lateness=0.02), moment(4.0, lateness=0.04), piece=2.0)
    (late,) = lines(drawn, "late")
    assert [x for x, _ in late] == [186.0, 306.0, 546.0]
    assert [y for _, y in late] == [85.0, 62.0, 16.0]  # a quarter, a half and all of the strip
    assert lines(drawn, "machine") == [[(186.0, 169.0), (306.0, 169.0), (546.0, 169.0)]]


def test_where_nothing_is_known_the_line_has_a_gap() -> None:
    drawn = chart(*(moment(float(i), lateness=None if i == 3 else 0.01) for i in range(1, 6)))
    assert [len(line) for line in lines(drawn, "late")] == [2, 2]
    assert [len(line) for line in lines(drawn, "lag")] == [5]


def test_a_single_second_can_be_seen() -> None:
    ((first, last),) = lines(chart(moment(1.0)), "cpu")
    assert first[0] < last[0]


def test_each_process_has_its_line_but_only_the_eight_busiest() -> None:
    cpu = [0.1 * i for i in range(10)]
    drawn = chart(moment(1.0, cpu=cpu), moment(2.0, cpu=cpu), processes=10)
    heights = [line[0][1] for line in lines(drawn, "cpu")]
    assert heights == sorted(heights)
    assert len(heights) == 8


def test_it_says_in_words_what_it_shows() -> None:
    drawn = chart(moment(1.0), moment(2.0, lateness=0.3, loop_lag=0.4, cpu=[0.9]))
    assert (
        'aria-label="How the load processes of warm &lt;b&gt; fared: sent up to 300 ms late, loop '
        'up to 400 ms late, up to 90 % of a core"'
    ) in drawn


def test_in_a_closed_loop_nothing_is_late() -> None:
    drawn = chart(moment(1.0, lateness=None), moment(2.0, lateness=None))
    assert lines(drawn, "late") == []
    assert "fared: loop up to 20 ms late, up to 25 % of a core" in drawn


@pytest.mark.parametrize(
    ("share", "top"),
    [pytest.param(0.3, "100 %", id="a core"), pytest.param(1.6, "160 %", id="more")],
)
def test_the_strip_of_shares_holds_a_whole_core(share: float, top: str) -> None:
    assert f">{top}</text>" in chart(moment(1.0, cpu=[share]), moment(2.0))
