"""The scenarios that ship: named alike, ready to run, and never asking what another has asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.slo import load_slo

ROOT = Path(__file__).parents[2]
NAMES = ("cold_cache", "max_iterations", "warm_cache")
# In a process of its own, since a scenario brings in Locust.
SCRIPT = """
import json
from importlib import import_module
from harness.load import AgentUser, Deck
found = {}
for name in %r:
    module = import_module("scenarios." + name)
    (user,) = [v for v in vars(module).values()
               if isinstance(v, type) and issubclass(v, AgentUser) and v is not AgentUser]
    found[name] = {
        "class": user.__name__,
        "scenario": user.scenario(),
        "arrivals": str(user.arrivals),
        "tasks": len(user.tasks),
        "steps": [step.__name__ for step in user.prepare],
        "asks": [q.text for q in user.questions],
        "answers": [q.answer for q in user.questions],
        "repeats": user.questions._repeat,
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def scenarios() -> dict[str, dict[str, Any]]:
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT % (NAMES,)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = json.loads(said.stdout)
    return found


def test_these_are_all_the_scenarios() -> None:
    files = {p.stem for p in (ROOT / "scenarios").glob("*.py") if not p.stem.startswith("_")}
    assert files == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_file_class_and_label_share_one_name(scenarios: Any, name: str) -> None:
    assert scenarios[name]["class"] == name.title().replace("_", "")
    assert scenarios[name]["scenario"] == name


@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_knows_its_arrivals_and_its_tasks(scenarios: Any, name: str) -> None:
    assert scenarios[name]["arrivals"].startswith("Poisson, ")
    assert scenarios[name]["tasks"] > 0


def test_each_begins_in_the_state_that_it_is_about(scenarios: Any) -> None:
    assert {name: s["steps"] for name, s in scenarios.items()} == {
        "cold_cache": ["clear_cache"],
        "max_iterations": ["clear_cache"],
        "warm_cache": ["prime"],
    }


def test_cold_asks_nothing_twice_and_nothing_that_warm_asks(scenarios: Any) -> None:
    cold, warm = scenarios["cold_cache"], scenarios["warm_cache"]
    assert len(set(cold["asks"])) == len(cold["asks"])
    assert not cold["repeats"]
    assert not set(cold["asks"]) & set(warm["asks"])
    # More than it can ask in its time, warm-up included: 3 a second for 28 s, and some.
    assert len(cold["asks"]) > 2 * 3 * 28


def test_warm_goes_round_a_small_set(scenarios: Any) -> None:
    assert len(scenarios["warm_cache"]["asks"]) == 15
    assert scenarios["warm_cache"]["repeats"]


@pytest.mark.parametrize("name", ["cold_cache", "warm_cache"])
def test_every_question_has_a_known_answer(scenarios: Any, name: str) -> None:
    assert all(scenarios[name]["answers"])


def test_the_promises_are_about_these_scenarios() -> None:
    slo = load_slo(ROOT / "slo.yaml", NAMES)
    assert {o.scenario for o in slo.objectives} == {*NAMES, "all"}
    assert {(o.name, o.scenario) for o in slo.objectives if o.gate} == {
        ("chat_p95", "warm_cache"),
        ("cache_hit_rate", "warm_cache"),
    }
