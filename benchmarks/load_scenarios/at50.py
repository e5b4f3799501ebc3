"""What the client's clock says, at a rate that leaves it idle."""

from harness.load import AgentUser, Poisson, task


class At50(AgentUser):
    """50 questions a second."""

    arrivals = Poisson(rate=50, duration="30s")

    @task
    def ask(self) -> None:
        """Ask one question."""
        self.chat("How long?")
