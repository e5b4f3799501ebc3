"""Goes on asking, whatever becomes of the server."""

from harness.load import AgentUser, Constant, task


class Steadfast(AgentUser):
    """Forty a second."""

    arrivals = Constant(rate=40, duration="6s")
    patience = 2.0

    @task
    def ask(self) -> None:
        """Ask once."""
        self.chat("How long?")
