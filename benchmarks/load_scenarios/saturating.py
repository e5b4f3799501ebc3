"""As many requests as the client can make, recorded and traced: a user who never rests."""

from harness.load import AgentUser, constant, task


class Saturating(AgentUser):
    """Asks again as soon as it is answered."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """Ask one question."""
        self.chat("How long?")
