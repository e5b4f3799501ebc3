"""
Where the harness meets Locust: it is hooked in once, and takes its part at Locust's start.

What a process is, Locust decides: a worker (harness.load.worker) sends what its
master plans; a master or a Locust on its own owns the run (harness.load.owner).
"""

from __future__ import annotations

import logging
from typing import Any

import gevent
from locust import events, runners

from harness.load.ctrl_c import tell_main_greenlet
from harness.load.messages import REPORT_SECONDS
from harness.load.options import add_options
from harness.load.owner import Owner
from harness.load.session import Session
from harness.load.worker import Worker
from harness.proxies import reach_this_machine_directly


def install() -> None:
    """Hook into Locust; done once per process, however many scenario files there are."""
    runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS
    # Our workers end themselves when their master is silent, by a clock that is never set.
    runners.MASTER_HEARTBEAT_TIMEOUT = float("inf")  # type: ignore[assignment]
    events.init_command_line_parser.add_listener(add_options)
    events.init.add_listener(_init)


def _init(environment: Any, **_: Any) -> None:
    # Locust's --run-time counts from the loop's clock, which stood still during the imports.
    gevent.get_hub().loop.update_now()
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    reach_this_machine_directly()
    tell_main_greenlet()
    session = Session()
    session.open_loop = environment.parsed_options.open_loop
    environment.harness_session = session
    environment.events.request.add_listener(lambda **_: session.count())
    if isinstance(environment.runner, runners.WorkerRunner):
        Worker(environment, session)
        return
    owner = Owner(environment, session)
    if environment.parsed_options.headless:
        # Now and not at test_start: --run-time is already running by then.
        owner.begin()
        gevent.get_hub().loop.update_now()


install()
