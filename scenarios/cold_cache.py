"""Questions nobody asked before, to an agent whose cache was emptied."""

from pathlib import Path

from harness.load import AgentUser, Deck, Poisson, clear_cache, task


class ColdCache(AgentUser):
    """Every question needs files or patterns that were not read before."""

    arrivals = Poisson(rate=3, duration="26s", warmup="2s")
    prepare = (clear_cache,)
    questions = Deck(Path(__file__).with_name("questions.jsonl"), first=20, count=380)

    @task
    def ask(self) -> None:
        """Ask a new question."""
        self.chat(self.questions.draw())
