"""Send what an arrival schedule says, or what one user does, and print what was kept of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.load import AgentUser, Constant, Deck, constant, task  # isort: skip - it patches

import gevent
from gevent.monkey import get_original
from locust.env import Environment

from harness.load.session import Session

stall = get_original("time", "sleep")


class Asker(AgentUser):
    """A user who asks the same, and may hold up its whole process once."""

    wait_time = constant(0.1)
    stalls_at = -1
    asked = 0
    deck: Deck | None = None

    @task
    def ask(self) -> None:
        """Ask once; at one of the questions, stall the process for half a second before."""
        Asker.asked += 1
        if Asker.asked == self.stalls_at:
            stall(0.5)
        self.chat(self.deck.draw() if self.deck else "again")


def open_loop(user: Asker, session: Any, duration: str, warmup: str) -> dict[str, Any]:
    """Run a schedule of ten a second to its end."""
    window: Any = SimpleNamespace()
    session.open_loop = True
    session.run_schedule(Constant(10, duration, warmup), user.journey, lambda: window)
    return {"planned": window.planned, "warmup": window.warmup_requests}


def closed_loop(user: Asker) -> dict[str, Any]:
    """Ask, pause, stall, ask again: the stall is no part of the pause."""
    user.chat("again")
    gevent.sleep(user.wait_time())
    due = user._due
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
    user = Asker(environment)
    if what == "closed":
        facts = closed_loop(user)
    else:
        Asker.stalls_at = 3 if what == "stalled" else -1
        if what == "deck":
            Asker.deck = Deck(Path(sys.argv[5]))
        if what == "stopped":
            gevent.spawn_later(0.5, setattr, session, "stopping", True)
        facts = open_loop(user, session, duration, warmup)
    samples = [asdict(s) for s in session.recorder.take_rows()]
    print(json.dumps({"samples": samples, **facts}))


main()
