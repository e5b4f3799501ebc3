"""Every way in which a request can go wrong, in turn, so that each is known by its number."""

import os
from functools import cache
from itertools import cycle

from harness.load import AgentUser, Constant, task

WHOLE = ("fine", "never", "huge", "no json")
STREAMED = ("fine", "garbled", "no end", "cut", "stalled", "endless")
ELSEWHERE = {"no name": os.environ["NO_SUCH_HOST"], "wrong certificate": os.environ["TLS_HOST"]}
KINDS = (*WHOLE, *STREAMED, *ELSEWHERE)


class Troubled(AgentUser):
    """Five of each kind."""

    arrivals = Constant(rate=20, duration="3s")
    patience = 1.5
    stall = 0.8
    asked = cycle(range(len(KINDS)))

    @task
    def ask(self) -> None:
        """Ask for the next trouble."""
        number = next(self.asked)
        kind = KINDS[number]
        user = self.at(ELSEWHERE[kind]) if kind in ELSEWHERE else self
        user.chat(kind, stream=number in range(len(WHOLE), len(WHOLE) + len(STREAMED)))

    @cache  # noqa: B019 - there is one such user in a process
    def at(self, host: str) -> AgentUser:
        """The same user, who was given another address."""
        other = type("Troubled", (AgentUser,), {"abstract": True, "host": host})
        return other(self.environment)
