"""A scenario is the same on two machines when what it is made of is, wherever that lies."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.load.fingerprint import fingerprints, strangers

SCENARIO = """\
from pathlib import Path

from harness.load.arrivals import Trace
from harness.load.questions import Deck

HERE = Path(__file__).parent


class Asker:
    questions = Deck(HERE / "questions.csv")
    arrivals = Trace(HERE / "arrivals.txt")
"""
QUESTIONS = "text,answer\nHow many files?,3\nWhich is the largest?,\n"
TRACE = "0\n1\n2\n"
Machine = Callable[..., dict[str, str]]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Load the scenario as another machine does, from a folder of its own."""
    made: list[str] = []

    def machine(code: str = SCENARIO, questions: str = QUESTIONS, trace: str = TRACE) -> Any:
        name = f"asker_{len(made)}"
        made.append(name)
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.py").write_bytes(code.encode())
        (folder / "questions.csv").write_bytes(questions.encode())
        (folder / "arrivals.txt").write_bytes(trace.encode())
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return fingerprints([module.Asker])

    yield machine
    for name in made:
        del sys.modules[name]


def test_it_is_the_same_in_another_folder_and_with_other_line_endings(machine: Machine) -> None:
    here = machine()
    windows = machine(*(text.replace("\n", "\r\n") for text in (SCENARIO, QUESTIONS, TRACE)))
    assert here.keys() == {"Asker"}
    assert windows == here


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"code": SCENARIO + "    path = '/other'\n"}, id="the scenario file"),
        pytest.param({"questions": QUESTIONS.replace("How many", "Which")}, id="a question"),
        pytest.param({"questions": QUESTIONS.replace(",3", ",4")}, id="an answer"),
        pytest.param({"trace": "0\n1.5\n2\n"}, id="as many arrivals at other instants"),
    ],
)
def test_it_is_another_when_anything_it_is_made_of_is(
    machine: Machine, changed: dict[str, str]
) -> None:
    assert strangers(machine(), machine(**changed)) == ("Asker",)


def test_only_scenarios_that_both_have_are_compared() -> None:
    own = {"Warm": "aa", "Cold": "bb", "Mine": "cc"}
    assert strangers(own, {"Warm": "aa", "Cold": "xx", "Yours": "dd"}) == ("Cold",)
