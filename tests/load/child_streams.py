"""Read streams, several at once, and print what was kept of them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from harness.load import AgentUser, OpenAIChat, task  # isort: skip - patches what comes after it

from gevent.pool import Pool
from known_session import KnownSession
from locust.env import Environment


class Reader(AgentUser):
    """Reads as it comes."""

    api = OpenAIChat("known-model")

    @task
    def ask(self) -> None:
        """A user needs some task."""


class Impatient(Reader):
    """Gives up soon."""

    patience = 1.0
    stall = 0.3


def main() -> None:
    """Read the host, how many streams, and how many at once, from the command line."""
    host, streams, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    Reader.host = Impatient.host = host
    environment: Any = Environment(user_classes=[Reader], host=host)
    environment.create_local_runner()
    session = environment.harness_session = KnownSession()
    user = Reader(environment)
    Pool(at_once).map(lambda number: user.chat(f"question {number}", stream=True), range(streams))
    read = session.samples, session.gaps
    session.samples = []
    Impatient(environment).chat("heartbeats", stream=True)
    Impatient(environment).chat("thoughts", stream=True)
    Impatient(environment).chat("drops")
    samples, gaps = ([asdict(s) for s in read[0]], read[1])
    given_up = [asdict(s) for s in session.samples]
    print(json.dumps({"samples": samples, "gaps": gaps, "given_up": given_up}))


main()
