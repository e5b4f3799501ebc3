"""Ask a server everything it is told to, one after the other, and print what was kept of it."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from typing import Any

from harness.load import AgentUser, Answer, Conversation, Question, task  # isort: skip - patches what comes after it

import gevent
from known_session import KnownSession
from locust.env import Environment


class Asker(AgentUser):
    """A user of little patience."""

    patience = 0.5
    stall = 0.2
    largest_answer = 256 * 1024

    @task
    def ask(self) -> None:
        """A user needs some task."""


def main() -> None:
    """Read the host and the cases from the command line."""
    host, cases = sys.argv[1], json.loads(sys.argv[2])
    Asker.host = host
    environment: Any = Environment(user_classes=[Asker], host=host)
    environment.create_local_runner()
    session = environment.harness_session = KnownSession()
    session.answers = {case["message"]: case["same"] for case in cases if case.get("same")}
    user = Asker(environment)
    answers, conversations = {}, {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in cases:
        question = Question(case["message"], case.get("answer"))
        conversation = Conversation("s-1")
        asking = gevent.spawn(
            user.chat, question, stream=case["stream"], conversation=conversation
        )
        if case.get("killed"):
            gevent.sleep(0.2)
            asking.kill()
        asking.join()
        answer = asking.value
        answers[case["message"]] = answer.text if isinstance(answer, Answer) else None
        conversations[case["message"]] = [conversation.session_id, conversation.turns]
    total = environment.stats.total
    print(
        json.dumps(
            {
                "samples": [asdict(s) for s in session.samples],
                "gaps": session.gaps,
                "answers": answers,
                "conversations": conversations,
                "in_flight": session.in_flight,
                "grown_bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
                * 1024,
                "locust": [total.num_requests, total.num_failures],
            }
        )
    )


main()
