"""An app with an API of its own: POST /api/chat {"message": ...} -> {"response": ...}."""

import json
from typing import Any

from harness.load import AgentUser, Answer, BadAnswerError, Constant, task


class MyApp(AgentUser):
    """Everything that differs from the reference app is said here."""

    arrivals = Constant(rate=4, duration="60s", warmup="2s")
    chat_path = "/api/chat"

    def chat_body(self, message: str, session_id: str | None) -> dict[str, Any]:
        """Write the body my app wants."""
        return {"message": message}

    def read_answer(self, body: bytes) -> Answer:
        """Find the text in my app's answer."""
        try:
            return Answer(text=json.loads(body)["response"])
        except (ValueError, KeyError) as error:
            raise BadAnswerError(f"not an answer: {error}") from error

    @task
    def ask(self) -> None:
        """Ask what my users ask."""
        self.chat("What is in the documents folder?")
