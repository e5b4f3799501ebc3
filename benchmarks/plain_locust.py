"""Locust as it comes, without the harness: what the load engine is held against."""

from locust import FastHttpUser, constant, constant_throughput, task

QUESTION = {"message": "How long?"}


class Saturating(FastHttpUser):
    """Asks again as soon as it is answered."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """Send the same body as the harness does."""
        self.client.post("/api/chat", json=QUESTION)


class Paced(FastHttpUser):
    """Ten questions a second, unless an answer takes longer."""

    wait_time = constant_throughput(10)

    @task
    def ask(self) -> None:
        """Send the same body as the harness does."""
        self.client.post("/api/chat", json=QUESTION)
