"""The same few questions again and again: every tool call should hit the cache."""

from pathlib import Path

from harness.load import AgentUser, Deck, Poisson, prime, task

QUESTIONS = Deck(Path(__file__).with_name("questions.jsonl"), count=15, repeat=True)


class WarmCache(AgentUser):
    """Questions that were all asked once before the load began."""

    arrivals = Poisson(rate=6, duration="28s", warmup="2s")
    prepare = (prime(QUESTIONS),)
    questions = QUESTIONS

    @task(3)
    def ask(self) -> None:
        """Ask for the whole answer at once."""
        self.chat(self.questions.draw())

    @task(1)
    def ask_streaming(self) -> None:
        """Ask for the answer token by token."""
        self.chat(self.questions.draw(), stream=True)
