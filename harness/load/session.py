"""One load process's part in a run: what its users share, what it sends, what it recorded."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.pool import Group

from harness.load import clock
from harness.load.alarm import Alarm
from harness.load.health import Health
from harness.load.limits import Limits, cost_by
from harness.load.plan import SEED, WARMUP, Phase, Plan, PlanError, Progress, Schedule
from harness.load.recorder import Recorder
from harness.load.trace_context import new_trace_id
from harness.model import Outcome, Sample
from harness.prices import ModelPrice, PriceBook

if TYPE_CHECKING:
    from harness.load.user import AgentUser

log = logging.getLogger("harness.load")

_PULSE_SECONDS = 1.0
# How long a load that is told to stop goes on sleeping, at most.
_NAP_SECONDS = 0.25
# How long requests under way get to end when the load is stopped before its time.
FINISH_SECONDS = 90.0


class _State(Enum):
    """How far a phase is: an open loop goes on to the next arrival only while it is sending."""

    SENDING = 1
    STOPPED = 2  # it was told to begin nothing new; what is under way may end
    OVER = 3  # nothing more will come


class Session:
    """
    What the users of one process share; Locust's environment carries it.

    Users ask it before they send (`may_send`), and give it every request
    (`record`). Whoever owns the process (harness.load.owner alone,
    harness.load.worker beside others) begins it with a plan and reads its
    progress.
    """

    def __init__(self) -> None:
        """Start with nothing sent and no limits."""
        self.open_loop = False
        self.run_id = ""
        self.answers: Mapping[str, str] = {}
        self.in_flight = 0
        self.recorder = Recorder()
        self.health = Health(0)
        self.limits = Limits(None, None, cost_by(PriceBook(()), {}))
        self._state = _State.SENDING
        self._planned = Event()
        self._planned.set()
        self._phase = ""
        self._began = clock.now()
        self._journeys = Group()
        self._fresh: set[Any] = set()
        self._begun = self._shed = self._recorded = self._warmed_up = self._sent = 0
        self._reached_at = 0.0
        self._used_up: dict[str, tuple[str, float]] = {}
        self._held = self._counted = 0
        self._faults: Counter[str] = Counter()
        self._troubles: Counter[str] = Counter()
        self._draw = random.Random(SEED)  # noqa: S311 - a choice of tasks, not a secret
        self._pulse: Any = None

    # -- what users ask and tell --------------------------------------------------

    def label(self, scenario: str) -> str:
        """Name that the target's traces carry: warm-up requests are not the scenario's."""
        return WARMUP if self._phase == WARMUP else scenario

    def choose(self, tasks: Sequence[Any]) -> Any:
        """Draw the next task, by weight and seed."""
        return self._draw.choice(tasks)

    def may_send(self, *, paid: bool = True) -> bool:
        """
        Say whether one more request may be sent now, and count it as sent if it may.

        `paid` says whether it asks an LLM, which costs money.
        """
        self._planned.wait()
        if self._state is not _State.SENDING:  # a user that paused meanwhile goes on after the end
            return False
        if self.limits.admits(paid=paid):
            self._sent += 1
            self._fresh.discard(gevent.getcurrent())
            return True
        if self.limits.reached:
            self._reached_at = self._reached_at or clock.now() - self._began
        elif self.limits.undecided:
            self._held += gevent.getcurrent() in self._fresh
        return False

    def record(self, sample: Sample, gaps: Sequence[float] = (), model: str = "") -> None:
        """
        Keep a request, unless it only warmed up.

        `gaps` are those between its tokens, `model` is the one its answer names.
        One that cannot be kept is told of as trouble; no user fails for it.
        """
        try:
            self.limits.spent(sample, model)
            if self._phase == WARMUP:
                self._warmed_up += sample.outcome is not Outcome.SHED
            else:
                self.recorder.record(sample, gaps)
                self._recorded += 1
        except Exception as error:  # noqa: BLE001 - it must not take the user along
            self._note("a request could not be kept", error)

    def used_up(self, scenario: str, sentence: str) -> None:
        """Let no more journeys of a scenario begin, which has nothing left to ask."""
        self._used_up.setdefault(scenario, (sentence, clock.now() - self._began))

    def count(self) -> None:
        """Take note that Locust was told of a request: another count than that of the rows."""
        self._counted += 1

    # -- what the owner of the process does ------------------------------------------

    def await_plan(self) -> None:
        """Let no user send anything before the next plan has come."""
        self._planned.clear()

    def begin(self, plan: Plan, users: Mapping[str, type[AgentUser]]) -> None:
        """
        Begin a phase; a new run begins with whole decks, or this process's share of them.

        `users` are the scenario classes by name. Raises PlanError when one of
        the plan is missing or has another schedule here.
        """
        if missing := sorted(set(plan.users) - set(users)):
            raise PlanError(
                f"this load process has no scenario {', '.join(missing)}, only "
                f"{', '.join(sorted(users))}; start it with the same -f as the master"
            )
        if plan.open_loop:
            self._compare(plan, users)
        if plan.run_id != self.run_id:
            self._begin_run(plan, users)
        self._phase = plan.phase
        self._begun = self._shed = self._recorded = self._held = 0
        self._reached_at, self._faults = 0.0, Counter()
        if self._state is _State.OVER:
            self._state = _State.SENDING
        self._used_up = {name: (told, 0.0) for name, (told, _) in self._used_up.items()}
        self._began = plan.begins_at or clock.now() + plan.begins_in
        if plan.phase == "measure":
            self.health = Health(plan.process)
            self.health.begin()
            self._pulse = gevent.spawn(self._pulsate)
        self._planned.set()

    def _begin_run(self, plan: Plan, users: Mapping[str, type[AgentUser]]) -> None:
        self.run_id, self.open_loop, self.answers = plan.run_id, plan.open_loop, plan.answers
        self._state = _State.SENDING
        self._warmed_up = self._sent = self._counted = 0
        self._used_up, self._troubles = {}, Counter()
        self._draw = random.Random(SEED + plan.slot)  # noqa: S311 - as above
        book = PriceBook(tuple(ModelPrice(*price) for price in plan.prices))
        models = {users[name].scenario(): users[name].model for name in plan.users}
        self.limits = Limits(
            plan.max_requests, plan.budget_usd, cost_by(book, models), slots=plan.slots
        )
        for name in plan.users:
            deck = users[name].questions
            if deck is not None:
                deck.split(plan.slot, plan.slots)
        if plan.open_loop and plan.phase == "measure":
            # Who takes a slot now goes on in its deck where the warm-up left it.
            for _, name in _own(plan, schedule_of("warmup", plan.users, users)):
                _pass_over(users[name])

    def _compare(self, plan: Plan, users: Mapping[str, type[AgentUser]]) -> None:
        """See that the schedule here is the master's: the slots are of one schedule."""
        if len(schedule_of(plan.phase, plan.users, users)) != plan.arrivals:
            raise PlanError(
                f"the schedule of {', '.join(plan.users)} is another one here than at the "
                "master; give all machines the same scenario files"
            )

    def send(self, plan: Plan, users: Mapping[str, AgentUser]) -> None:
        """
        Send this process's slot of an open loop, and come back when every journey is over.

        What was due before the plan came is not sent. To be called after `begin`.
        """
        late = max(0.0, -plan.begins_in)
        alarm = Alarm()
        try:
            for offset, name in _own(plan, schedule_of(plan.phase, plan.users, users)):
                if len(self._used_up) == len(users):
                    break
                if offset >= late and not self._reach(alarm, self._began + offset):
                    break
                if offset < late:
                    _pass_over(users[name])
                elif users[name].scenario() not in self._used_up:
                    self._depart(users[name], self._began + offset, plan.ceiling)
        finally:
            alarm.close()
        self._wait_for_journeys()
        self._state = _State.OVER

    def _reach(self, alarm: Alarm, due: float) -> bool:
        """Sleep until a journey is due; False when the sending ended before."""
        while (left := due - clock.now()) > 0:
            if not self._going_on:
                return False
            alarm.sleep_until(due if left < _NAP_SECONDS else due - left + _NAP_SECONDS)
        return self._going_on

    @property
    def _going_on(self) -> bool:
        return self._state is _State.SENDING and not self.limits.reached

    def _depart(self, user: AgentUser, due: float, ceiling: int) -> None:
        """Begin a journey in a greenlet of its own, or turn it away at the ceiling."""
        now = clock.now()
        if len(self._journeys) < ceiling:
            self._begun += 1
            self.health.late(now - due)
            self._journeys.spawn(self._travel, user, due)
            return
        self._shed += 1
        self.record(
            Sample(
                scenario=user.scenario(),
                operation="journey",
                trace_id=new_trace_id(),
                intended_start=due,
                start=now,
                end=now,
                outcome=Outcome.SHED,
                traced=False,
                detail=f"{ceiling} journeys were under way",
            )
        )

    def _travel(self, user: AgentUser, due: float) -> None:
        """Run a journey; what goes wrong in the scenario's own code is counted and told."""
        itself = gevent.getcurrent()
        self._fresh.add(itself)
        try:
            user.journey(due)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
            if fault not in self._faults:
                log.exception("a journey of %s failed in its own code", user.scenario())
            self._faults[fault] += 1
        finally:
            # One that sent nothing, since it was not allowed to or had nothing to ask, is none.
            self._begun -= itself in self._fresh
            self._fresh.discard(itself)

    def _wait_for_journeys(self) -> None:
        """Wait for all to end; those of a load that was stopped get only so long."""
        stopped_at = None
        while not self._journeys.join(timeout=_NAP_SECONDS):
            if self._state is _State.STOPPED:
                stopped_at = stopped_at or clock.now()
                if clock.now() - stopped_at > FINISH_SECONDS:
                    self._journeys.kill()

    def stop(self) -> None:
        """Begin nothing new from now on, in an open loop or a closed one."""
        self._state = _State.STOPPED

    def wait_until_idle(self) -> bool:
        """Wait until no request is under way; False when that takes too long."""
        deadline = clock.now() + FINISH_SECONDS
        while (self.in_flight or self._journeys) and clock.now() < deadline:
            gevent.sleep(0.02)
        return not self.in_flight

    def end(self) -> None:
        """End the measuring, after the last request; what is kept can still be read."""
        self._state = _State.OVER
        if self._pulse is not None:
            self._pulse.kill()
            self._pulse = None
            self._beat()
            self.health.end()

    def progress(self) -> Progress:
        """Tell how far this phase is."""
        return Progress(
            phase=self._phase,
            at=clock.now() - self._began,
            begun=self._begun,
            shed=self._shed,
            in_flight=self._under_way,
            recorded=self._recorded,
            warmed_up=self._warmed_up,
            sent=self._sent,
            spent_usd=self.limits.spent_usd,
            over=self._state is _State.OVER,
            reached=self.limits.reached,
            reached_at=self._reached_at,
            option=self.limits.option,
            used_up=dict(self._used_up),
            held=self._held,
            counted=self._counted,
            faults=dict(self._faults),
            troubles=dict(self._troubles),
        )

    def report(self) -> dict[str, Any]:
        """Hand over everything that was not handed over before, as plain values."""
        recorded = self._packed()
        return {
            "progress": self.progress().values(),
            "recorded": recorded,
            "seconds": [asdict(second) for second in self.health.take()],
        }

    def _packed(self) -> dict[str, Any]:
        try:
            return self.recorder.pack()
        except Exception as error:  # noqa: BLE001 - the owner must hear of the rest, and of this
            self._note("what was recorded could not be handed over", error)
            return Recorder().pack()

    @property
    def _under_way(self) -> int:
        return len(self._journeys) if self.open_loop else self.in_flight

    def _pulsate(self) -> None:
        while True:
            gevent.sleep(_PULSE_SECONDS)
            self._beat()

    def _beat(self) -> None:
        try:
            self.recorder.fold()
            self.health.second(self._under_way)
        except Exception as error:  # noqa: BLE001 - the next second may be better
            self._note("what was measured in a second could not be counted", error)

    def _note(self, what: str, error: Exception) -> None:
        """Keep what went wrong in this process itself, and show where, once."""
        trouble = f"{what}: {type(error).__name__}: {error}"
        if trouble not in self._troubles:
            log.error(trouble, exc_info=error)
        self._troubles[trouble] += 1


def schedule_of(
    phase: Phase, lengths: Mapping[str, float], users: Mapping[str, AgentUser | type[AgentUser]]
) -> Schedule:
    """Give the whole schedule of a phase; raises PlanError when a scenario declares none."""
    arrivals = {}
    for name in lengths:
        declared = users[name].arrivals
        if declared is None:
            raise PlanError(f"{name} declares no arrivals; add arrivals = Poisson(...)")
        arrivals[name] = declared
    return Schedule(phase, arrivals, lengths)


def _own(plan: Plan, schedule: Schedule) -> Iterator[tuple[float, str]]:
    return islice(schedule, plan.slot, None, plan.slots)


def _pass_over(user: AgentUser | type[AgentUser]) -> None:
    """Leave out the question of a journey that is not made, or that another process made."""
    if user.questions is not None:
        user.questions.skip()
