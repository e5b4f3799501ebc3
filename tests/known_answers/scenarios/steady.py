"""The same question at even distances, so that every count is known beforehand."""

from harness.load import AgentUser, Constant, clear_cache, task


class Steady(AgentUser):
    """100 pairs of requests in two seconds: one whole, then one streamed."""

    arrivals = Constant(rate=50, duration="2s")
    prepare = (clear_cache,)

    @task
    def ask(self) -> None:
        """Ask for a whole answer, then for a streamed one."""
        self.chat("How long?")
        self.chat("How long?", stream=True)
