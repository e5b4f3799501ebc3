"""What one load process sends of a plan, and what it tells of it; the users are played here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from harness.load import clock
from harness.load.arrivals import Arrivals, Constant
from harness.load.plan import Plan, PlanError, Progress
from harness.load.questions import Deck
from harness.load.session import Session, schedule_of
from harness.model import Outcome, Sample


class Asker:
    """A user whose journey is one request, which takes as long as it is told."""

    model = "gpt-4o-mini"
    arrivals: Arrivals | None = Constant(50, "0.2s", warmup="0.1s")
    questions: Deck | None = None

    def __init__(self, session: Session, seconds: float = 0.0) -> None:
        self._session = session
        self._seconds = seconds
        self.due: list[float] = []

    @staticmethod
    def scenario() -> str:
        return "asker"

    def journey(self, intended: float) -> None:
        if not self._session.may_send():
            return
        self.due.append(intended)
        self._session.in_flight += 1
        gevent.sleep(self._seconds)
        self._session.in_flight -= 1
        self._session.record(sample(intended))


def sample(intended: float, **more: Any) -> Sample:
    now = clock.now()
    return Sample("asker", "chat", "0" * 32, intended, now, now, Outcome.OK, **more)


def plan(**more: Any) -> Plan:
    fields: dict[str, Any] = {
        "version": "1",
        "run_id": "20261122-090000-cafe",
        "target": "http://127.0.0.1:1",
        "open_loop": True,
        "phase": "measure",
        "users": {"Asker": 0.2},
        "clock": clock.now(),
        "arrivals": 10,
        "ceiling": 100,
    }
    return Plan(**(fields | more))


def known(user: Any) -> dict[str, Any]:
    """Give the scenarios of this load process: the class, or the one user that sends."""
    return {"Asker": user}


def sent(told: Plan, user: Callable[[Session], Asker] = Asker) -> tuple[Session, Asker]:
    """Send a plan to its end."""
    session = Session()
    asker = user(session)
    session.begin(told, known(type(asker)))
    session.send(told, known(asker))
    session.end()
    return session, asker


def offsets(asker: Asker) -> list[float]:
    return [due - asker.due[0] for due in asker.due]


def test_every_arrival_begins_a_journey_with_its_intended_start() -> None:
    session, asker = sent(plan())
    assert offsets(asker) == pytest.approx([n / 50 for n in range(10)], abs=1e-6)
    told = session.progress()
    assert (told.begun, told.shed, told.recorded, told.sent, told.over) == (10, 0, 10, 10, True)
    assert all(s.lateness >= 0 for s in session.recorder.take_rows())


def test_a_slot_is_every_other_arrival_of_two() -> None:
    _, asker = sent(plan(slot=1, slots=2))
    assert offsets(asker) == pytest.approx([n / 50 for n in range(0, 10, 2)], abs=1e-6)
    assert len(asker.due) == 5


def test_what_was_due_before_the_plan_came_is_not_sent() -> None:
    session, asker = sent(plan(begins_in=-0.11))
    assert len(asker.due) == 4, "due at 0.12, 0.14, 0.16 and 0.18"
    assert session.progress().begun == 4


def test_who_hears_of_its_plan_too_late_sends_all_of_it_and_is_late() -> None:
    session, asker = sent(plan(begins_in=0.2, begins_at=clock.now() - 0.1))
    assert len(asker.due) == 10
    assert max(row.lateness for row in session.recorder.take_rows()) >= 0.1


def test_who_comes_late_goes_on_where_the_questions_are_by_then(tmp_path: Path) -> None:
    deck = tmp_path / "deck.jsonl"
    deck.write_text("".join(json.dumps({"text": f"question {n}"}) + "\n" for n in range(40)))

    class Reader(Asker):
        arrivals = Constant(50, "0.2s")
        questions = Deck(deck)

        def journey(self, intended: float) -> None:
            super().journey(intended)
            assert self.questions is not None
            asked.append(self.questions.draw().text)

    asked: list[str] = []
    sent(plan(begins_in=-0.11, slot=1, slots=2), Reader)
    # This slot's arrivals are number 1, 3, 5, 7, 9; three of them were due before.
    assert asked == ["question 7", "question 9"]


def test_beyond_the_ceiling_a_journey_is_shed_and_that_is_told() -> None:
    session, asker = sent(plan(ceiling=2), lambda s: Asker(s, seconds=0.5))
    told = session.progress()
    assert (len(asker.due), told.begun, told.shed, told.recorded) == (2, 2, 8, 10)
    rows = session.recorder.take_rows()
    shed = [row for row in rows if row.outcome is Outcome.SHED]
    assert len(shed) == 8
    assert {(s.operation, s.start == s.end, s.traced) for s in shed} == {("journey", True, False)}
    assert len({s.trace_id for s in shed}) == 8
    assert [s.intended_start for s in shed] == sorted(s.intended_start for s in shed)


def test_a_limit_ends_the_sending_and_no_journey_begins_that_may_not_ask() -> None:
    session, asker = sent(plan(max_requests=3))
    told = session.progress()
    assert (len(asker.due), told.begun, told.sent) == (3, 3, 3)
    assert told.reached == "--max-requests 3 was reached"
    assert told.reached_at >= 0.06, "the fourth was due by then"


def test_warming_up_is_counted_against_the_limit_and_kept_as_no_row() -> None:
    session = Session()
    asker = Asker(session)
    lengths = {"Asker": 0.1}
    warming = schedule_of("warmup", lengths, known(Asker))
    begun = plan(phase="warmup", users=lengths, arrivals=len(warming), max_requests=4)
    session.begin(begun, known(Asker))
    assert session.label("asker") == "warmup"
    for _ in range(3):
        asker.journey(clock.now())
    session.begin(plan(max_requests=4), known(Asker))
    assert session.label("asker") == "asker"
    session.send(plan(max_requests=4), known(asker))
    session.end()
    told = session.progress()
    assert (told.warmed_up, told.begun, told.recorded, told.sent) == (3, 1, 1, 4)


def test_what_fails_in_the_scenarios_own_code_is_counted_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Faulty(Asker):
        def journey(self, intended: float) -> None:
            super().journey(intended)
            if len(self.due) in (2, 5):
                raise KeyError("colour")

    session, asker = sent(plan(), Faulty)
    assert len(asker.due) == 10
    assert session.progress().faults == {"KeyError: 'colour'": 2}
    assert caplog.text.count("Traceback") == 1, "shown once, for whoever wrote it"


def test_a_load_told_to_stop_begins_nothing_more_and_lets_what_is_under_way_end() -> None:
    session = Session()
    asker = Asker(session, seconds=0.1)
    told = plan(users={"Asker": 60.0}, arrivals=3000)
    session.begin(told, known(Asker))
    sending = gevent.spawn(session.send, told, known(asker))
    gevent.sleep(0.1)
    session.stop()
    assert not session.may_send()
    assert session.wait_until_idle()
    sending.join()
    session.end()
    told_of = session.progress()
    assert 1 <= told_of.begun == told_of.recorded < 10


def test_a_user_that_paused_until_after_the_end_may_send_nothing_more() -> None:
    session = Session()
    session.begin(plan(open_loop=False), {"Asker": Asker})
    assert session.may_send()
    session.stop()
    session.end()
    assert not session.may_send()


def test_every_second_process_noted_of_itself_is_handed_over_once() -> None:
    session, _ = sent(plan(process=3))
    report = json.loads(json.dumps(session.report()))
    assert Progress.of(report["progress"]).recorded == len(report["recorded"]["rows"]) == 10
    assert [second["process"] for second in report["seconds"]] == [3]
    assert sum(second["begun"] for second in report["seconds"]) == 10
    again = session.report()
    assert (again["recorded"]["rows"], again["seconds"]) == ([], [])


def test_a_worker_sends_nothing_before_its_plan_has_come() -> None:
    session = Session()
    session.await_plan()
    asking = gevent.spawn(session.may_send)
    gevent.sleep(0)
    assert not asking.ready()
    session.begin(plan(open_loop=False, users={"Asker": 0.0}, arrivals=0), known(Asker))
    asking.join(timeout=5)
    assert asking.value is True
    session.end()


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        pytest.param(
            {"users": {"Asker": 0.2, "Reader": 1.0}},
            "this load process has no scenario Reader, only Asker; start it with the same -f as "
            "the master",
            id="a scenario that is not here",
        ),
        pytest.param(
            {"arrivals": 11},
            "the schedule of Asker is another one here than at the master; give all machines the "
            "same scenario files",
            id="another schedule",
        ),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(told: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PlanError) as refused:
        Session().begin(plan(**told), known(Asker))
    assert str(refused.value) == sentence


def test_a_scenario_without_arrivals_is_refused() -> None:
    class Idle(Asker):
        arrivals = None

    with pytest.raises(PlanError, match=r"Asker declares no arrivals; add arrivals = Poisson"):
        Session().begin(plan(), known(Idle))


def test_two_processes_do_not_draw_the_same_tasks() -> None:
    drawn = []
    for slot in range(2):
        session = Session()
        session.begin(plan(slot=slot, slots=2), known(Asker))
        drawn.append([session.choose("abcdefgh") for _ in range(20)])
        session.end()
    assert drawn[0] != drawn[1]


def test_who_has_nothing_left_to_ask_ends_only_its_own_arrivals() -> None:
    class Other(Asker):
        @staticmethod
        def scenario() -> str:
            return "other"

    session = Session()
    asker, other = Asker(session), Other(session)
    lengths = {"Asker": 0.2, "Other": 0.2}
    told = plan(users=lengths, arrivals=20)
    session.begin(told, {"Asker": Asker, "Other": Other})
    session.used_up("asker", "all 3 questions were asked once")
    session.send(told, {"Asker": asker, "Other": other})
    session.end()
    assert (len(asker.due), len(other.due)) == (0, 10)
    (sentence, _) = session.progress().used_up["asker"]
    assert sentence == "all 3 questions were asked once"
