"""An app with an API of its own: POST /api/chat {"message": ...} -> {"response": ...}."""

from harness.load import AgentUser, Constant, Http, task


class MyApp(AgentUser):
    """Everything that differs from the reference app is said here."""

    api = Http(path="/api/chat", body={"message": "{message}"}, answer="response")
    arrivals = Constant(rate=4, duration="60s", warmup="2s")

    @task
    def ask(self) -> None:
        """Ask what my users ask."""
        self.chat("What is in the documents folder?")
