"""The scenarios that ship: named alike, ready to run, and doing what their first lines say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.load.arrivals import seconds
from harness.slo import load_slo

ROOT = Path(__file__).parents[2]
NAMES = (
    "bad_input",
    "cold_cache",
    "documents",
    "max_iterations",
    "mixed",
    "multi_turn",
    "soak",
    "spike",
    "streaming",
    "warm_cache",
)
PROMISED = ("cold_cache", "max_iterations", "warm_cache")
# In a process of its own, since a scenario brings in Locust.
SCRIPT = Path(__file__).with_name("child_scenarios.py")


@pytest.fixture(scope="module")
def scenarios() -> dict[str, dict[str, Any]]:
    said = subprocess.run(
        [sys.executable, str(SCRIPT), *NAMES],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    found: dict[str, dict[str, Any]] = json.loads(said.stdout)
    return found


def test_these_are_all_the_scenarios() -> None:
    files = {p.stem for p in (ROOT / "scenarios").glob("*.py") if not p.stem.startswith("_")}
    assert files == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_file_class_and_label_share_one_name(scenarios: Any, name: str) -> None:
    assert scenarios[name]["class"] == name.title().replace("_", "")
    assert scenarios[name]["scenario"] == name


def test_each_comes_at_its_own_pace_and_none_overruns_a_small_machine(scenarios: Any) -> None:
    assert {name: s["arrivals"] for name, s in scenarios.items()} == {
        "bad_input": "Poisson, 2 per second for 9s",
        "cold_cache": "Poisson, 3 per second for 26s",
        "documents": "Poisson, 4 per second for 18s",
        "max_iterations": "Poisson, 1 per second for 16s",
        "mixed": "Poisson, 4 per second for 28s",
        "multi_turn": "Poisson, 1.5 per second for 20s",
        "soak": "constant, 2 per second for 10m",
        "spike": "spike from 2 to 12 per second for 8s, 12s before and 18s after, Poisson",
        "streaming": "Poisson, 5 per second for 23s",
        "warm_cache": "Poisson, 6 per second for 28s",
    }


def test_each_begins_in_the_state_that_it_is_about(scenarios: Any) -> None:
    assert {name: s["steps"] for name, s in scenarios.items()} == {
        "bad_input": [],
        "cold_cache": ["clear_cache"],
        "documents": [],
        "max_iterations": ["clear_cache"],
        "mixed": ["prime"],
        "multi_turn": [],
        "soak": [],
        "spike": ["prime"],
        "streaming": ["prime"],
        "warm_cache": ["prime"],
    }


def test_cold_asks_nothing_twice_and_nothing_that_another_asks(scenarios: Any) -> None:
    cold = scenarios["cold_cache"]
    assert len(set(cold["asks"])) == len(cold["asks"])
    assert not cold["repeats"]
    for name, other in scenarios.items():
        assert name == "cold_cache" or not set(cold["asks"]) & set(other["asks"]), name
    # More than it can ask in its time, warm-up included: 3 a second for 28 s, and some.
    assert len(cold["asks"]) > 2 * 3 * 28


def test_all_others_can_go_on_for_ever(scenarios: Any) -> None:
    assert {name for name, s in scenarios.items() if s["asks"] and not s["repeats"]} == {
        "cold_cache"
    }


@pytest.mark.parametrize("name", ["mixed", "spike", "streaming", "warm_cache"])
def test_warm_goes_round_a_small_set(scenarios: Any, name: str) -> None:
    assert scenarios[name]["asks"] == scenarios["warm_cache"]["asks"]
    assert len(scenarios[name]["asks"]) == 15


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name not in ("bad_input", "documents", "max_iterations")]
)
def test_every_question_has_a_known_answer(scenarios: Any, name: str) -> None:
    assert scenarios[name]["answers"]
    assert all(scenarios[name]["answers"])


def test_the_promises_are_about_these_scenarios() -> None:
    slo = load_slo(ROOT / "slo.yaml", NAMES)
    assert {o.scenario for o in slo.objectives} == {*PROMISED, "all"}
    assert {(o.name, o.scenario) for o in slo.objectives if o.gate} == {
        ("chat_p95", "warm_cache"),
        ("cache_hit_rate", "warm_cache"),
    }


# -- what a user does, who sends nothing and only notes what it is asked --------------------


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("cold_cache", "ask"),
        ("max_iterations", "review"),
        ("soak", "ask"),
        ("spike", "ask"),
        ("streaming", "ask_streaming"),
        ("warm_cache", "ask"),
        ("warm_cache", "ask_streaming"),
    ],
)
def test_a_journey_of_one_question(scenarios: Any, name: str, task: str) -> None:
    told = scenarios[name]
    one, other = told["calls"][task]
    for (call,) in (one, other):
        assert (call["call"], call["conversation"]) == ("chat", None)
        assert call["stream"] is (task == "ask_streaming")
        assert call["answer"] == told["answers"][told["asks"].index(call["text"])]
    assert one[0]["text"] != other[0]["text"]


def test_a_conversation_is_three_turns_with_time_to_read(scenarios: Any) -> None:
    one, other = scenarios["multi_turn"]["calls"]["converse"]
    for journey in (one, other):
        # No pause before the first: it is due when the user arrives.
        assert [call["call"] for call in journey] == ["chat", "think", "chat", "think", "chat"]
        assert [call["seconds"] for call in journey if call["call"] == "think"] == [1.5, 1.5]
        turns = [call for call in journey if call["call"] == "chat"]
        assert [turn["conversation"] for turn in turns] == [0, 0, 0]
        assert len({turn["text"] for turn in turns}) == 3
    assert {c.get("text") for c in one} & {c.get("text") for c in other} == {None}


def test_a_conversation_that_gets_no_answer_is_given_up(scenarios: Any) -> None:
    failed = scenarios["multi_turn"]["calls_when_the_second_fails"]["converse"]
    assert [[call["call"] for call in journey] for journey in failed] == [
        ["chat", "think", "chat"]
    ] * 2


def test_a_document_is_made_used_and_deleted(scenarios: Any) -> None:
    one, other = scenarios["documents"]["calls"]["keep"]
    name = one[0]["json"]["path"]
    assert re.fullmatch(r"journey-[0-9a-f]{32}\.md", name)
    assert [(c["method"], c["path"], c["operation"], c["expect"]) for c in one] == [
        ("POST", "/api/documents", "create", [201]),
        ("GET", f"/api/documents/{name}", "read", [200]),
        ("PUT", f"/api/documents/{name}", "update", [200]),
        ("GET", "/api/documents", "list", [200]),
        ("GET", f"/api/documents/{name}?download=true", "download", [200]),
        ("DELETE", f"/api/documents/{name}", "delete", [200]),
        ("GET", f"/api/documents/{name}", "read_deleted", [404]),
    ]
    # Locust's table has a line for the path, not for every document.
    assert {c.get("name") for c in one} == {None, "/api/documents/[name]"}
    assert not any("traced" in call for call in one)
    assert other[0]["json"]["path"] != name


def test_a_document_is_deleted_whatever_went_wrong_with_it(scenarios: Any) -> None:
    told = scenarios["documents"]
    failed = told["calls_when_the_second_fails"]["keep"][0]
    assert [c["operation"] for c in failed][-2:] == ["delete", "read_deleted"]
    # But not when it was never made.
    assert [len(journey) for journey in told["calls_when_the_first_fails"]["keep"]] == [1, 1]


def test_every_mistake_has_the_one_status_it_must_get(scenarios: Any) -> None:
    told = scenarios["bad_input"]
    one, other = told["calls"]["send_nonsense"]
    assert one == other
    # One that is accepted after all keeps no other from being made.
    assert told["calls_when_the_first_fails"]["send_nonsense"][0] == one
    operations = [call["operation"] for call in one]
    assert len(set(operations)) == len(operations) >= 10
    for call in one:
        (status,) = call["expect"]
        assert 400 <= status < 500
        assert "traced" not in call
    assert {status for call in one for status in call["expect"]} == {400, 403, 404, 405, 413, 422}


def test_mixed_does_what_the_others_do_in_the_declared_shares(scenarios: Any) -> None:
    mixed = scenarios["mixed"]
    # 10 parts warm_cache (three in four whole, one streamed), 5 streaming, 2, 2, and 1.
    assert mixed["weights"] == {
        "ask": 30,
        "ask_streaming": 10 + 20,
        "converse": 8,
        "keep": 8,
        "send_nonsense": 4,
    }
    assert mixed["calls"]["send_nonsense"] == scenarios["bad_input"]["calls"]["send_nonsense"]
    asked = [c["text"] for c in mixed["calls"]["converse"][0] if c["call"] == "chat"]
    assert set(asked) <= set(mixed["asks"])


@pytest.mark.parametrize(
    ("file", "listed"),
    [
        pytest.param("", [name.title().replace("_", "") for name in NAMES], id="the whole folder"),
        pytest.param("mixed.py", ["Mixed"], id="mixed, without the users it borrows from"),
    ],
)
def test_locust_finds_them_from_any_working_directory(
    tmp_path: Path, file: str, listed: list[str]
) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios" / file), "--list"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert sorted(said.stdout.split()[2:]) == sorted(listed), said.stdout


def test_none_of_them_takes_longer_by_default_than_it_says(scenarios: Any) -> None:
    lengths = {name: seconds(s["duration"]) for name, s in scenarios.items()}
    assert lengths.pop("soak") == 600
    assert max(lengths.values()) <= 40
