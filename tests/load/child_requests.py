"""Make requests of all kinds, each as a user of its own, and print what was kept of them."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from typing import Any

from harness.load import AgentUser, Answer, Conversation, FilesystemAgent, Http, OpenAIChat, task  # isort: skip - patches what comes after it

from known_session import KnownSession
from locust.env import Environment
from locust.exception import RescheduleTask, StopUser

from harness.load.limits import Limits
from harness.model import HarnessError


class Misreader(FilesystemAgent):
    """An API of one's own that is not quite right."""

    def read_answer(self, body: bytes) -> Answer:
        """Read what the server wants to be misread."""
        return replace(super().read_answer(body), **json.loads(body)["misread"])


APIS = {
    "misread": Misreader(),
    "openai": OpenAIChat("known-model"),
    "http": Http(
        "/ask", {"q": "{message}", "in": "{session}"}, "text", session="id", model="model"
    ),
}


class Asker(AgentUser):
    """A user of little patience."""

    patience = 2.0

    @task
    def ask(self) -> None:
        """A user needs some task."""


def out_of_questions(user: AgentUser) -> None:
    """Do what a deck does when all was dealt."""
    user.chat("first")
    raise StopUser("all 1 questions were asked once")


def insatiable(user: AgentUser) -> None:
    """Ask for ever."""
    while True:
        user.chat("first")


def brief(user: AgentUser) -> None:
    """Ask one question."""
    user.chat("first")


TASKS = {each.__name__: each for each in (out_of_questions, insatiable, brief)}


def make(wanted: dict[str, Any]) -> dict[str, Any]:
    """Make the calls of one user in its environment, and tell of them."""
    for name in ("TARGET_TOKEN", "TARGET_HEADERS", "OPENAI_API_KEY", "SSL_CERT_FILE"):
        os.environ.pop(name, None)
    os.environ.update(wanted.get("environment", {}))
    environment: Any = Environment(user_classes=[Asker], host=wanted["url"])
    environment.create_local_runner()
    session = environment.harness_session = KnownSession()
    session.left = wanted.get("may_send")
    if wanted.get("price_awaited"):
        session.limits = Limits(None, 1.0, lambda _, __: None)
        session.limits.admits()
    session.keeps = not wanted.get("not_kept")
    Asker.host = wanted["url"]
    Asker.api = APIS.get(wanted.get("api", ""), AgentUser.api)
    user = Asker(environment)
    conversation = Conversation()
    got: list[Any] = []
    ended = ""
    user.tasks = [TASKS[wanted.get("task", "brief")]]
    for method, arguments, options in wanted["calls"]:
        if method == "chat" and options.pop("in_conversation", False):
            options["conversation"] = conversation
        try:
            result = getattr(user, method)(*arguments, **options)
        except (StopUser, RescheduleTask, HarnessError, ValueError) as error:
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
        "used_up": session.ended,
        "models": session.models,
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
