"""In the middle of it, the clock of the machine is set back by an hour."""

import time

from harness.load import AgentUser, Constant, task

right = time.time
steady = time.perf_counter


class Stepped(AgentUser):
    """Fifty a second; after a second and a half the clock shows an hour less."""

    arrivals = Constant(rate=50, duration="3s")
    since = 0.0

    @task
    def ask(self) -> None:
        """Ask once, and set the clock back when it is time to."""
        Stepped.since = Stepped.since or steady()
        if steady() - Stepped.since > 1.5:
            time.time = lambda: right() - 3600
        self.chat("How long?")
