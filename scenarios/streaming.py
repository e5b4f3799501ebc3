"""Every answer is streamed: how soon the first token comes, and how evenly the others follow."""

from pathlib import Path

from harness.load import AgentUser, Deck, Poisson, prime, task

QUESTIONS = Deck(Path(__file__).with_name("questions.jsonl"), count=15, repeat=True)


class Streaming(AgentUser):
    """Questions with a warm cache, so that what is seen is the stream and not the tools."""

    arrivals = Poisson(rate=5, duration="23s", warmup="2s")
    prepare = (prime(QUESTIONS),)
    questions = QUESTIONS

    @task
    def ask_streaming(self) -> None:
        """Ask for the answer token by token."""
        self.chat(self.questions.draw(), stream=True)
