"""Ask a server everything it is told to, one after the other, and print what was kept of it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from harness.load import AgentUser, Answer, Question, task  # isort: skip - patches what comes after it

import gevent
from locust.env import Environment

from harness.load.session import Session


class Asker(AgentUser):
    """A user of little patience."""

    network_timeout = 0.5
    connection_timeout = 0.5

    @task
    def ask(self) -> None:
        """A user needs some task."""


def main() -> None:
    """Read the host and the cases from the command line."""
    host, cases = sys.argv[1], json.loads(sys.argv[2])
    Asker.host = host
    environment = Environment(user_classes=[Asker], host=host)
    environment.create_local_runner()
    session: Any = Session()
    session.run_id = "20260921-100000-cafe"
    environment.harness_session = session  # type: ignore[attr-defined]
    user = Asker(environment)
    answers = {}
    for case in cases:
        question = Question(case["message"], case.get("answer"))
        asking = gevent.spawn(user.chat, question, stream=case["stream"], session_id="s-1")
        if case.get("killed"):
            gevent.sleep(0.2)
            asking.kill()
        asking.join()
        answer = asking.value
        answers[case["message"]] = answer.text if isinstance(answer, Answer) else None
    total = environment.stats.total
    print(
        json.dumps(
            {
                "samples": [asdict(s) for s in session.recorder.take_rows()],
                "answers": answers,
                "in_flight": session.in_flight,
                "locust": [total.num_requests, total.num_failures],
            }
        )
    )


main()
