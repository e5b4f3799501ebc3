"""How figures are summed up, judged and printed."""

from __future__ import annotations

import json

import pytest

from benchmarks.figures import Target, print_json, print_table, print_targets, quantile


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        pytest.param(0.5, 5, id="the median of ten is the fifth"),
        pytest.param(0.95, 10, id="p95 of ten is the largest"),
        pytest.param(0.9, 9, id="p90 of ten is the ninth"),
        pytest.param(0.0, 1, id="nothing is below the smallest"),
    ],
)
def test_a_quantile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert quantile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == expected


def test_json_is_one_flat_object_of_six_digits(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"ratio": 1 / 3, "open_files": 30})

    assert json.loads(capsys.readouterr().out) == {"ratio": 0.333333, "open_files": 30}


def test_a_table_stands_in_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Times", ("", "ms"), [("cat", "0.1"), ("grep_tree", "12.5")])

    assert capsys.readouterr().out.splitlines() == [
        "",
        "Times",
        "               ms",
        "  cat         0.1",
        "  grep_tree  12.5",
    ]


def test_targets_are_met_or_missed(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"speedup": 20.0, "ratio": 0.6, "growth": 0}
    targets = (
        Target("speedup", at_least=20),
        Target("ratio", at_most=0.5),
        Target("growth", at_most=0),
    )

    print_targets(figures, targets)

    printed = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert printed == [
        ["speedup", "20", ">=", "20", "met"],
        ["ratio", "0.6", "<=", "0.5", "MISSED"],
        ["growth", "0", "<=", "0", "met"],
    ]
