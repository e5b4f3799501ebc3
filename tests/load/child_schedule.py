"""Send what an arrival schedule says, or what one user does, and print what was kept of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from harness.load import AgentUser, Constant, Deck, constant, task  # isort: skip - it patches

import gevent
from gevent.monkey import get_original
from locust.env import Environment

from harness.load import clock
from harness.load.arrivals import seconds
from harness.load.hands import Alone
from harness.load.plan import Phase, Plan
from harness.load.session import Session, schedule_of
from harness.load.user import _due

stall = get_original("time", "sleep")


class Asker(AgentUser):
    """A user who asks the same, and may hold up its whole process once."""

    wait_time = constant(0.1)
    stalls_at = -1
    stops_at = -1
    asked = 0
    deck: Deck | None = None

    @task
    def ask(self) -> None:
        """Ask once; at one of the questions, stall the process for half a second before."""
        Asker.asked += 1
        if Asker.asked == self.stalls_at:
            stall(0.5)
        self.chat(self.deck.draw() if self.deck else "again")
        if Asker.asked == self.stops_at:
            self.session.stop()


def open_loop(environment: Any, session: Session, duration: str, warmup: str) -> dict[str, Any]:
    """Run a schedule of ten a second to its end."""
    Asker.arrivals = Constant(10, duration, warmup)
    hands = Alone(environment, session)
    plan = Plan(
        version="1",
        run_id="20261122-090000-cafe",
        target=str(Asker.host),
        open_loop=True,
        phase="warmup",
        users={},
        clock=clock.now(),
        ceiling=1000,
    )
    phases: tuple[tuple[Phase, str], ...] = (("warmup", warmup), ("measure", duration))
    for phase, length in phases:
        lengths = {"Asker": seconds(length)}
        schedule = schedule_of(phase, lengths, {"Asker": Asker})
        hands.begin(replace(plan, phase=phase, users=lengths, arrivals=len(schedule)), schedule)
        while not hands.over():
            gevent.sleep(0.02)
    account = hands.account()
    return {"planned": account.planned, "begun": account.begun, "warmup": account.warmed_up}


def closed_loop(user: Asker) -> dict[str, Any]:
    """Ask, pause, stall, ask again: the stall is no part of the pause."""
    user.chat("again")
    gevent.sleep(user.wait_time())
    due = _due.intended
    stall(0.5)
    user.chat("again")
    user.chat("again")
    return {"due": due}


def main() -> None:
    """Read the host and what to do from the command line."""
    Asker.host, what, duration, warmup = sys.argv[1:5]
    environment = Environment(user_classes=[Asker], host=Asker.host)
    environment.create_local_runner()
    session: Any = Session()
    environment.harness_session = session  # type: ignore[attr-defined]
    if what == "closed":
        facts = closed_loop(Asker(environment))
    else:
        Asker.stalls_at = 3 if what == "stalled" else -1
        if what == "deck":
            Asker.deck = Deck(Path(sys.argv[5]))
        Asker.stops_at = 3 if what == "stopped" else -1
        facts = open_loop(environment, session, duration, warmup)
    samples = [asdict(s) for s in session.recorder.take_rows()]
    print(json.dumps({"samples": samples, **facts}))


main()
