"""A little load for a long time: what grows, leaks or slows down shows here."""

from pathlib import Path

from harness.load import AgentUser, Constant, Deck, task


class Soak(AgentUser):
    """One question after the other for ten minutes, at a rate that never changes."""

    arrivals = Constant(rate=2, duration="10m", warmup="2s")
    questions = Deck(Path(__file__).with_name("questions.jsonl"), first=400, repeat=True)

    @task
    def ask(self) -> None:
        """Ask for the whole answer at once."""
        self.chat(self.questions.draw())
