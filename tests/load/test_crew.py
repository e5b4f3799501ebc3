"""Who has which slot, and what is said to be lost when a load process dies."""

from __future__ import annotations

from dataclasses import replace

from harness.load.crew import Crew, PhaseAccount
from harness.load.plan import Progress

TEN_SECONDS = 10.0


def due(slot: int, begin: float, end: float) -> int:
    """Each of two slots has an arrival every half second, for ten seconds, the first at once."""
    del slot
    return sum(begin <= number / 2 < min(end, TEN_SECONDS) for number in range(20))


def two() -> Crew:
    """Two load processes with a slot each, in the measured phase."""
    crew = Crew(2)
    crew.join("a", 0)
    crew.join("b", 1)
    crew.begin("measure", 40, due)
    crew.fill(0.0)
    return crew


def done(begun: int) -> Progress:
    return Progress(phase="measure", at=10, begun=begun, recorded=begun, sent=begun, over=True)


def test_each_gets_a_slot_and_who_comes_too_many_gets_none() -> None:
    crew = two()
    crew.join("c", 2)
    assert crew.fill(1.0) == []
    assert [(p.node, p.slot, p.since) for p in crew] == [("a", 0, 0.0), ("b", 1, 0.0)]


def test_what_all_sent_and_told_leaves_nothing_to_say() -> None:
    crew = two()
    crew.told("a", done(20), 20, 10.0)
    assert not crew.over
    crew.told("b", done(20), 20, 10.0)
    assert crew.over
    account = crew.account()
    assert (account.planned, account.begun, account.not_sent, account.may_be_lost) == (
        40,
        40,
        0,
        0,
    )
    assert account.notes == ()


def test_what_was_under_way_and_due_since_the_last_report_of_a_dead_process_may_be_lost() -> None:
    crew = two()
    crew.told("a", done(20), 20, 10.0)
    # Its last report: 7 of those due until second 3 began, one of them still under way.
    crew.told("b", Progress(phase="measure", at=3.2, begun=7, in_flight=1, recorded=6), 6, 3.2)
    crew.leave("b", 4.1)
    account = crew.account()
    # Until second 4.1 nine were due, so two more may have begun; then eleven were not sent.
    assert account.may_be_lost == 1 + 2
    assert account.not_sent == 40 - 20 - 7 - 2
    assert account.notes[0] == (
        "load process 1 was lost, last heard of 3.2 s into the window: up to 3 of its requests "
        "are not known of"
    )
    assert account.notes[1:] == ("11 of 40 planned arrivals were not sent",)


def test_journeys_of_several_requests_may_have_lost_as_many_each() -> None:
    crew = two()
    crew.told("b", Progress(phase="measure", at=3.2, begun=7, in_flight=1, recorded=18), 18, 3.2)
    crew.leave("b", 3.3)
    assert crew.account().may_be_lost == 3, "six journeys that ended made three requests each"


def test_who_said_that_it_is_over_loses_nothing_by_leaving() -> None:
    crew = two()
    crew.told("a", done(20), 20, 10.0)
    crew.told("b", replace(done(8), at=4.0), 8, 4.0)
    crew.leave("b", 4.0)
    account = crew.account()
    assert (account.may_be_lost, account.not_sent) == (0, 12)


def test_rows_that_were_told_of_and_did_not_arrive_may_be_lost() -> None:
    crew = two()
    crew.told("a", done(20), 18, 10.0)
    crew.told("b", done(20), 20, 10.0)
    account = crew.account()
    assert account.may_be_lost == 2
    assert account.notes == ("2 requests of load process 0 did not arrive here",)


def test_who_joins_late_takes_the_slot_of_a_dead_one_from_then_on() -> None:
    crew = two()
    crew.told("a", done(20), 20, 10.0)
    crew.told("b", Progress(phase="measure", at=2.9, begun=6, recorded=6), 6, 2.9)
    crew.leave("b", 3.0)
    crew.join("c", 2)
    (late,) = crew.fill(5.0)
    assert (late.node, late.process, late.slot, late.since) == ("c", 2, 1, 5.0)
    crew.told("c", done(10), 10, 10.0)
    account = crew.account()
    assert (account.begun, account.not_sent, account.may_be_lost) == (36, 4, 0)
    assert account.notes[1] == (
        "load process 2 took its place 5.0 s into the window: 4 arrivals due before were not sent"
    )


def test_a_slot_that_nobody_took_at_first_is_sent_from_when_one_comes() -> None:
    crew = Crew(2)
    crew.join("a", 0)
    crew.begin("measure", 40, due)
    crew.fill(0.0)
    crew.join("b", 1)
    crew.fill(2.0)
    crew.told("a", done(20), 20, 10.0)
    crew.told("b", done(16), 16, 10.0)
    account = crew.account()
    assert (account.begun, account.not_sent) == (36, 4)
    assert account.notes == (
        "load process 1 took its place 2.0 s into the window: 4 arrivals due before were not sent",
    )


def test_one_that_was_only_silent_is_believed_again_unless_its_slot_was_taken() -> None:
    crew = two()
    crew.leave("b", 3.0)
    assert crew.back("b")
    assert [p.gone_at for p in crew] == [None, None]
    crew.leave("b", 4.0)
    crew.join("c", 2)
    crew.fill(4.0)
    assert not crew.back("b")


def test_the_slots_are_the_same_after_the_warm_up() -> None:
    crew = Crew(2)
    crew.join("b", 1)
    crew.join("a", 0)
    crew.begin("warmup", 4, due)
    crew.fill(0.0)
    crew.told("b", Progress(phase="warmup", warmed_up=2, sent=2, over=True), 0, 1.0)
    crew.leave("a", 1.0)
    crew.begin("measure", 40, due)
    assert [(p.node, p.slot) for p in crew] == [("b", 0)]
    crew.told("b", replace(done(20), warmed_up=2), 20, 10.0)
    assert crew.account().warmed_up == 2, "a process counts it once, however often it tells"


def test_what_is_told_of_the_phase_before_does_not_count() -> None:
    crew = two()
    crew.told("a", Progress(phase="warmup", begun=9, over=True), 0, 0.1)
    assert crew.account().begun == 0
    assert not crew.over


def test_without_a_schedule_the_recent_rate_says_what_may_be_lost() -> None:
    crew = Crew(1)
    crew.join("a", 0)
    crew.begin("measure", None, None)
    crew.fill(0.0)
    crew.told("a", Progress(phase="measure", at=1.0, recorded=100), 100, 1.0)
    crew.told("a", Progress(phase="measure", at=2.0, recorded=150, in_flight=4), 50, 2.0)
    crew.leave("a", 2.5)
    account = crew.account()
    assert account.planned is None
    assert account.may_be_lost == 4 + 25


def test_the_limits_of_a_slot_are_what_its_earlier_holders_left() -> None:
    crew = two()
    told = Progress(phase="measure", at=3, begun=7, in_flight=1, recorded=6, sent=8, spent_usd=4.0)
    crew.told("b", told, 6, 3.0)
    crew.leave("b", 3.1)
    # One may be lost, and cost what the others did.
    assert crew.used(1) == (9, 4.5)
    assert crew.used(0) == (0, 0.0)


def test_faults_in_the_scenario_are_told() -> None:
    crew = two()
    crew.told("a", replace(done(20), faults={"KeyError: 'x'": 3}), 20, 10.0)
    assert crew.account().notes == ("3 journeys failed in the scenario's own code: KeyError: 'x'",)


def account(**more: object) -> PhaseAccount:
    fields: dict[str, object] = {
        "planned": 140, "begun": 100, "shed": 0, "warmed_up": 0, "may_be_lost": 0,
        "not_sent": 40, "reached": "--max-requests 50 was reached", "reached_at": 12.34,
        "option": "--max-requests",
        "spent_usd": 0.0, "notes": (),
    }  # fmt: skip
    return PhaseAccount(**(fields | more))  # type: ignore[arg-type]


def test_a_limit_that_ended_the_sending_is_said_as_the_user_gave_it() -> None:
    assert account().stopped_by(100, None) == (
        "--max-requests 100 was reached after 12.3 s; 40 of 140 planned arrivals were not sent"
    )
    spent = account(
        reached="the share of --budget-usd of one in 2 processes was reached: 1",
        option="--budget-usd",
    )
    assert spent.stopped_by(None, 2.5).startswith("--budget-usd 2.5 was reached after 12.3 s; ")
    warming = account(begun=0, not_sent=140)
    assert "was reached before anything was measured; 140 of 140" in warming.stopped_by(100, None)
    closed = account(planned=None, not_sent=0)
    assert closed.stopped_by(100, None) == "--max-requests 100 was reached after 12.3 s"
    assert account(reached="").stopped_by(100, None) == ""


def test_a_budget_that_cannot_be_kept_is_said_in_its_own_words() -> None:
    unknown = account(
        reached="--budget-usd cannot be kept, since answers tell no tokens", option=""
    )
    assert unknown.stopped_by(None, 1.0).startswith("--budget-usd cannot be kept, since answers")


def test_scenarios_that_had_nothing_left_to_ask_are_said_and_when_the_last_process_had_not() -> (
    None
):
    crew = two()
    used = {"cold_cache": ("all 30 questions were asked once", 4.0)}
    crew.told("a", replace(done(15), used_up=used), 15, 10.0)
    crew.told(
        "b", replace(done(15), used_up={"cold_cache": [*used["cold_cache"][:1], 5.5]}), 15, 9
    )
    assert crew.account().stopped_by(None, None) == (
        "cold_cache: all 30 questions were asked once after 5.5 s; 10 of 40 planned arrivals were "
        "not sent"
    )


def test_what_is_wrong_in_a_load_process_itself_is_told() -> None:
    crew = two()
    crew.told("a", replace(done(20), troubles={"it could not be kept": 2}), 20, 10.0)
    assert crew.account().notes == ("load process 0: it could not be kept, 2 times",)
