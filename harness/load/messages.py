"""What masters and workers say to each other besides what Locust says, and how soon."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import gevent
import zmq

from harness import provenance
from harness.model import HarnessError

log = logging.getLogger("harness.load")

# Owner to load process.
PLAN = "harness_plan"
STOP = "harness_stop"
REFUSED = "harness_refused"

# Load process to owner. Who a process is comes with every report, too: a greeting may come
# before the master listens.
HELLO = "harness_hello"
CANNOT = "harness_cannot"
REPORT = "harness"  # the key in Locust's own reports

# Locust's workers report every 3 seconds. A worker that is killed takes with it what it did not
# report, so ours report every second.
REPORT_SECONDS = 1.0
# Locust's workers go on for a minute when their master is silent, and send load meanwhile.
SILENCE_SECONDS = 10.0

_NUDGE_SECONDS = 0.05


def listen_closely(socket: Callable[[], Any]) -> None:
    """
    Let Locust's socket notice its messages at once.

    ZeroMQ tells of new messages only once, and under gevent that is missed now
    and then: the message lies there until the next one comes, which with Locust
    takes a second (measured: plans came 0.45 to 1.05 s late). Asking for the
    socket's state wakes whoever waits for it.
    """
    while True:
        gevent.sleep(_NUDGE_SECONDS)
        if not socket().closed:
            socket().getsockopt(zmq.EVENTS)


def say(sentence: str) -> None:
    """Tell the user at once, where `harness run` passes it on."""
    print(f"harness: {sentence}", file=sys.stderr, flush=True)  # noqa: T201 - the user's terminal


def explained(error: Exception) -> str:
    """Give one sentence for what ended a load; the log has more, for whoever wrote what failed."""
    if isinstance(error, HarnessError):
        return str(error)
    log.error("the load was broken off", exc_info=error)
    return f"{type(error).__name__}: {error}"


@cache
def version() -> str:
    """Give the version of the harness: load processes of others are refused."""
    return provenance.versions()["harness"]
