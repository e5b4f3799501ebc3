"""Make requests of all kinds, each as a user of its own, and print what was kept of them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Any

from harness.load import AgentUser, Conversation, Http, OpenAIChat, task  # isort: skip - patches what comes after it

from known_session import KnownSession
from locust.env import Environment
from locust.exception import StopUser

from harness.model import HarnessError

APIS = {
    "openai": OpenAIChat("known-model"),
    "http": Http("/ask", {"q": "{message}", "in": "{session}"}, "text", session="id"),
}


class Asker(AgentUser):
    """A user of little patience."""

    patience = 2.0

    @task
    def ask(self) -> None:
        """A user needs some task."""


def make(wanted: dict[str, Any]) -> dict[str, Any]:
    """Make the calls of one user in its environment, and tell of them."""
    for name in ("TARGET_TOKEN", "TARGET_HEADERS", "OPENAI_API_KEY", "SSL_CERT_FILE"):
        os.environ.pop(name, None)
    os.environ.update(wanted.get("environment", {}))
    environment: Any = Environment(user_classes=[Asker], host=wanted["url"])
    environment.create_local_runner()
    session = environment.harness_session = KnownSession()
    session.left = wanted.get("may_send")
    Asker.host = wanted["url"]
    Asker.api = APIS.get(wanted.get("api", ""), AgentUser.api)
    user = Asker(environment)
    conversation = Conversation()
    got: list[Any] = []
    ended = ""
    for method, arguments, options in wanted["calls"]:
        if method == "chat" and options.pop("in_conversation", False):
            options["conversation"] = conversation
        try:
            result = getattr(user, method)(*arguments, **options)
        except (StopUser, HarnessError, ValueError) as error:
            ended = f"{type(error).__name__}: {error}"
            break
        if hasattr(result, "body"):
            got.append([result.status, result.body.decode(), dict(result.headers)])
        else:
            got.append(asdict(result) if result else None)
    return {
        "samples": [asdict(s) for s in session.samples],
        "got": got,
        "ended": ended,
        "in_flight": session.in_flight,
        "locust": sorted([name, method] for name, method in environment.stats.entries),
    }


def refused(attributes: dict[str, Any]) -> str:
    """Declare a scenario that cannot be right, and give what is said of it."""
    try:
        type("MyApp", (AgentUser,), attributes)
    except ValueError as error:
        return str(error)
    return ""


print(
    json.dumps(
        {
            "made": [make(wanted) for wanted in json.loads(sys.argv[1])],
            "refused": [refused(attributes) for attributes in json.loads(sys.argv[2])],
        }
    )
)
