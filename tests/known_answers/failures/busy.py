"""A load process that has far more to do than to send: it is the bottleneck, not the target."""

import os
import time

import gevent

from harness.load import AgentUser, Constant, task


def burn() -> None:
    """Keep the processor busy for good, giving way to the others every now and then."""
    while True:
        end = time.perf_counter() + 0.15
        while time.perf_counter() < end:
            sum(range(1000))
        gevent.sleep(0.001)  # zero would let no other greenlet read its socket for many rounds


class Busy(AgentUser):
    """Ten a second, for as long as the environment says."""

    arrivals = Constant(rate=10, duration=os.environ.get("BUSY_FOR", "30s"))
    burning: gevent.Greenlet | None = None

    @task
    def ask(self) -> None:
        """Ask once; the first to do so begins to burn."""
        Busy.burning = Busy.burning or gevent.spawn(burn)
        self.chat("How long?")
