"""Conversations: three questions in one session, with time to read the answers."""

from pathlib import Path

from harness.load import AgentUser, Conversation, Deck, Poisson, task


class MultiTurn(AgentUser):
    """Each turn is asked when the answer before it was read, and the app has more to remember."""

    arrivals = Poisson(rate=1.5, duration="20s", warmup="2s")
    questions = Deck(Path(__file__).with_name("questions.jsonl"), first=400, repeat=True)

    @task
    def converse(self) -> None:
        """Ask three questions in a row; a conversation whose answer fails is given up."""
        conversation = Conversation()
        for turn in range(3):
            if turn:
                self.think(1.5)
            if self.chat(self.questions.draw(), conversation=conversation) is None:
                return
