"""A scenario made of the tasks of others, found by their place and not by their name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ONE = """
from harness.load import AgentUser, task

HERE = "one"

class One(AgentUser):
    @task(3)
    def often(self):
        return f"{HERE} often for {self}"

    @task
    def seldom(self):
        return f"{HERE} seldom for {self}"
"""
TWO = """
from harness.load import AgentUser, task

class Two(AgentUser):
    @task
    def only(self):
        return "two"
"""


GOOD = '{"one": 1, "two": 2}'
BAD = {
    '{"three": 1}': "{folder}/three.py: there is no such scenario",
    '{"empty": 1}': "{folder}/empty.py: it declares no AgentUser with tasks",
    '{"one": 0}': "{folder}: the weight of one is 0; give 1, 2, 3, ...",
    '{"one": 0.5}': "{folder}: the weight of one is 0.5; give 1, 2, 3, ...",
    "{}": "{folder}: give at least one scenario to take tasks of",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lenders")
    for name, text in (
        ("one", ONE),
        ("two", TWO),
        ("empty", "from harness.load import AgentUser"),
    ):
        (path / f"{name}.py").write_text(text)
    return path


@pytest.fixture(scope="module")
def borrowed(in_child: Any, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = in_child("child_borrowed.py", str(folder), GOOD, *BAD)
    return found


def test_every_scenario_has_its_weight_and_every_task_its_share_of_that(borrowed: Any) -> None:
    assert Counter(borrowed[GOOD]) == {
        "one often for the borrower": 3,
        "one seldom for the borrower": 1,
        "two": 8,
    }


@pytest.mark.parametrize("weights", BAD)
def test_what_cannot_be_borrowed_is_named(borrowed: Any, folder: Path, weights: str) -> None:
    assert borrowed[weights] == BAD[weights].format(folder=folder)
