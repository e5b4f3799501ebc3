"""What the client's clock says, at a rate that keeps it busy."""

from harness.load import AgentUser, Poisson, task


class At200(AgentUser):
    """200 questions a second."""

    arrivals = Poisson(rate=200, duration="20s")

    @task
    def ask(self) -> None:
        """Ask one question."""
        self.chat("How long?")
