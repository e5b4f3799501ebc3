"""Those who send for the owner of a load: its own process, or the workers of a master."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import gevent

from harness.load.crew import Crew, PhaseAccount
from harness.load.people import agent_users, stop_users, travellers
from harness.load.plan import Plan, Schedule
from harness.load.session import Session
from harness.model import GeneratorSecond

# Time to get ready before the first arrival is due.
_NOTICE_SECONDS = 0.2


class Hands(Protocol):
    """Whoever sends: begun with a plan for all, which each gets its part of."""

    def begin(self, plan: Plan, schedule: Schedule | None) -> None:
        """Begin a phase; without a schedule, users send when they like."""
        ...

    def over(self) -> bool:
        """Whether nothing more will come of the phase."""
        ...

    def stop(self) -> bool:
        """Let nothing new begin and wait for what is under way; False if it did not end."""
        ...

    def account(self) -> PhaseAccount:
        """Tell what became of the phase."""
        ...

    def take_seconds(self) -> list[GeneratorSecond]:
        """Hand over what the load processes noted of themselves."""
        ...

    def limits_reached(self) -> bool:
        """Whether nobody may send any more."""
        ...


class Alone:
    """The process of the owner sends everything."""

    def __init__(self, environment: Any, session: Session) -> None:
        """Nothing is sent yet."""
        self._environment = environment
        self._session = session
        self._crew = Crew(1)
        self._sending: Any = None

    def begin(self, plan: Plan, schedule: Schedule | None) -> None:
        """Begin a phase; raises PlanError when it cannot be done."""
        classes = {user.__name__: user for user in agent_users(self._environment)}
        plan = replace(plan, begins_in=_NOTICE_SECONDS if plan.open_loop else 0.0)
        self._crew.join("", 0)
        self._crew.begin(plan.phase, *counted(plan, schedule))
        self._crew.fill(0.0)
        self._session.begin(plan, classes)
        if plan.open_loop:
            users = travellers(self._environment, plan, classes)
            self._sending = gevent.spawn(self._session.send, plan, users)

    def over(self) -> bool:
        """Whether every journey is over; raises what went wrong in the sending itself."""
        if self._sending is None or not self._sending.dead:
            return False
        if self._sending.exception is not None:
            raise self._sending.exception
        return True

    def stop(self) -> bool:
        """Stop sending, and wait."""
        self._session.stop()
        stop_users(self._environment)
        return self._session.wait_until_idle()

    def account(self) -> PhaseAccount:
        """Tell what became of the phase, at its end."""
        self._session.end()
        told = self._session.progress()
        self._crew.told("", told, told.recorded, told.at)
        return self._crew.account()

    def take_seconds(self) -> list[GeneratorSecond]:
        """Hand over what this process noted of itself."""
        return self._session.health.take()

    def limits_reached(self) -> bool:
        """Whether the limit of requests or money is reached."""
        return bool(self._session.limits.reached)


def counted(
    plan: Plan, schedule: Schedule | None
) -> tuple[int | None, Callable[[int, float, float], int] | None]:
    """Give how many arrivals a phase has, and what counts those of a slot; None without any."""
    if schedule is None:
        return None, None
    return plan.arrivals, lambda slot, begin, end: schedule.due(slot, plan.slots, begin, end)
