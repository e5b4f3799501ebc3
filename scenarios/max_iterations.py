"""Prompts that keep the agent calling tools until it hits its limit."""

from pathlib import Path

from harness.load import AgentUser, Deck, Poisson, clear_cache, task


class MaxIterations(AgentUser):
    """Reviews without an end, which the agent has to stop by itself."""

    arrivals = Poisson(rate=1, duration="16s")
    prepare = (clear_cache,)
    questions = Deck(Path(__file__).with_name("explorations.jsonl"), repeat=True)

    @task
    def review(self) -> None:
        """Ask for more than can be done."""
        self.chat(self.questions.draw())
