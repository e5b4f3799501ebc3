"""One schedule for all load processes, each with its slot of it, and the messages that say so."""

from __future__ import annotations

import json
from itertools import islice

import pytest

from harness.load.arrivals import Constant, Poisson
from harness.load.plan import Plan, PlanError, Progress, Schedule, share

TWO = {"Fast": Poisson(50, "20s", warmup="4s"), "Slow": Constant(1, "5s", warmup="2s")}


def plan(**more: object) -> Plan:
    fields: dict[str, object] = {
        "version": "1.2.3",
        "run_id": "20261122-090000-cafe",
        "target": "http://127.0.0.1:8000",
        "open_loop": True,
        "phase": "measure",
        "users": {"Fast": 20.0, "Slow": 5.0},
        "clock": 1_764_000_000.25,
        "answers": {"How many files?": "3 files"},
        "max_requests": 7,
        "budget_usd": 0.5,
        "prices": (("gpt", "^gpt$", {"input": 1e-6}),),
    }
    return Plan(**(fields | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
def test_the_slots_together_hold_every_arrival_once(slots: int) -> None:
    schedule = Schedule("measure", TWO, {"Fast": 20.0, "Slow": 5.0})
    parts = [list(islice(schedule, slot, None, slots)) for slot in range(slots)]
    assert sorted(a for part in parts for a in part) == list(schedule)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_scenarios_that_run_together_are_merged_in_order_of_time() -> None:
    schedule = Schedule("measure", TWO, {"Fast": 20.0, "Slow": 5.0})
    arrivals = list(schedule)
    assert arrivals == sorted(arrivals)
    assert [offset for offset, name in arrivals if name == "Slow"] == [0, 1, 2, 3, 4]
    assert len(schedule) == len(arrivals) > 500


def test_scenarios_alike_do_not_arrive_at_the_same_instants() -> None:
    alike = {"One": Poisson(5, "10s"), "Other": Poisson(5, "10s")}
    offsets = [offset for offset, _ in Schedule("measure", alike, dict.fromkeys(alike, 10.0))]
    assert len(set(offsets)) == len(offsets)


def test_the_warm_up_is_another_schedule_than_what_is_measured() -> None:
    lengths = {"Fast": 4.0}
    warming = [offset for offset, _ in Schedule("warmup", TWO, lengths)]
    assert warming
    assert max(warming) < 4
    assert warming != [offset for offset, _ in Schedule("measure", TWO, lengths)]


def test_due_counts_the_arrivals_of_one_slot_between_two_instants() -> None:
    schedule = Schedule("measure", {"Slow": Constant(1, "10s")}, {"Slow": 10.0})
    assert schedule.due(0, 2, 0, 10) == 5, "0, 2, 4, 6, 8"
    assert schedule.due(1, 2, 2.5, 7) == 2, "3 and 5; 7 is no more before 7"
    assert schedule.due(1, 2, 3, 3) == 0


def test_a_plan_arrives_as_it_was_sent() -> None:
    sent = plan(begins_in=-1.5, slot=1, slots=2)
    assert Plan.of(json.loads(json.dumps(sent.values())), "1.2.3") == sent


def test_how_long_a_phase_lasts_is_what_its_longest_scenario_says() -> None:
    assert plan().seconds == 20


def test_a_plan_of_another_version_is_refused_in_one_sentence() -> None:
    with pytest.raises(PlanError) as refused:
        Plan.of(plan().values(), "1.3.0")
    assert str(refused.value) == (
        "the master runs harness 1.2.3 and this load process 1.3.0; install the same version on "
        "both machines"
    )


def test_progress_arrives_as_it_was_sent_and_what_a_newer_one_adds_is_left_out() -> None:
    sent = Progress(phase="measure", at=1.5, begun=3, faults={"KeyError: 'x'": 2})
    assert Progress.of(json.loads(json.dumps(sent.values())) | {"news": 1}) == sent


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        pytest.param(100, [50, 50], id="even"),
        pytest.param(7, [3, 2, 2], id="the first get one more"),
        pytest.param(1, [1, 0, 0], id="fewer than parts"),
    ],
)
def test_the_shares_of_a_whole_number_add_up_to_it(whole: int, parts: list[int]) -> None:
    assert [share(whole, index, len(parts)) for index in range(len(parts))] == parts
