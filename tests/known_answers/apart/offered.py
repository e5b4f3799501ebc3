"""Arrivals at random, the same ones every time, for several load processes to share."""

from harness.load import AgentUser, Poisson, task


class Offered(AgentUser):
    """Forty a second."""

    arrivals = Poisson(rate=40, duration="5s", warmup="1s")

    @task
    def ask(self) -> None:
        """Ask once."""
        self.chat("How long?")
