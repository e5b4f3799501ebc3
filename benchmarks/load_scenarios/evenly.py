"""Even distances, so that every intended start is known: a hundred a second, or as told."""

import os

from harness.load import AgentUser, Constant, task


class Evenly(AgentUser):
    """The first is due at once."""

    arrivals = Constant(rate=float(os.environ.get("EVENLY_RATE", "100")), duration="20s")

    @task
    def ask(self) -> None:
        """Ask one question."""
        self.chat("How long?")
