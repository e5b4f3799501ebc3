"""Suddenly six times as many users, and then as few as before: how the app takes it."""

from pathlib import Path

from harness.load import AgentUser, Deck, prime, task
from harness.load import Spike as SpikeArrivals

QUESTIONS = Deck(Path(__file__).with_name("questions.jsonl"), count=15, repeat=True)


class Spike(AgentUser):
    """Questions with a warm cache; in the middle they come six times as often."""

    arrivals = SpikeArrivals(base=2, peak=12, before="12s", for_="8s", after="18s", warmup="2s")
    prepare = (prime(QUESTIONS),)
    questions = QUESTIONS

    @task
    def ask(self) -> None:
        """Ask for the whole answer at once."""
        self.chat(self.questions.draw())
