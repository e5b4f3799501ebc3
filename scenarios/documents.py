"""Documents are written, read and deleted through the API, and nothing is left behind."""

from uuid import uuid4

from harness.load import AgentUser, Poisson, task

DOCUMENTS = "/api/documents"


class Documents(AgentUser):
    """The whole life of one document in each journey, under a name that nobody else has."""

    arrivals = Poisson(rate=4, duration="18s", warmup="2s")

    @task
    def keep(self) -> None:
        """Create, read, change, list, download and delete a document; then it is gone."""
        name = f"journey-{uuid4().hex}.md"
        one = f"{DOCUMENTS}/[name]"  # one line for all of them in Locust's table
        url = f"{DOCUMENTS}/{name}"
        new = {"path": name, "content": "A first draft.\n"}
        if self.request("POST", DOCUMENTS, operation="create", json=new, expect=(201,)) is None:
            return
        self.request("GET", url, operation="read", name=one)
        self.request("PUT", url, operation="update", json={"content": "Better.\n"}, name=one)
        self.request("GET", DOCUMENTS, operation="list")
        self.request("GET", f"{url}?download=true", operation="download", name=one)
        self.request("DELETE", url, operation="delete", name=one)
        self.request("GET", url, operation="read_deleted", expect=(404,), name=one)
