"""Run a load headless in which something is made to go wrong, and print how it ended."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from harness.load import AgentUser, Constant, task  # isort: skip - it patches

import gevent
from locust.env import Environment

from harness.load import recorder
from harness.load.owner import Owner
from harness.load.session import Session
from harness.runs import RunDirectory


class Asker(AgentUser):
    """A user who asks the same for a minute."""

    arrivals = Constant(10, "60s")

    @task
    def ask(self) -> None:
        """Ask once."""
        self.chat("again")


def full(*_: Any) -> None:
    """Fail as a full disk does."""
    raise OSError(28, "No space left on device")


def spoil(what: str, session: Session) -> None:
    """Make this go wrong."""
    if what == "disk":
        RunDirectory.append_samples = full  # type: ignore[method-assign]
    elif what == "closing":
        RunDirectory.append_samples = full  # type: ignore[method-assign]
        RunDirectory.write_histograms = full  # type: ignore[method-assign]
        record = RunDirectory.write_window
        RunDirectory.write_window = (  # type: ignore[method-assign]
            lambda self, w: record(self, w) if w.notes == ("it was never closed",) else full()
        )
    elif what == "sending":

        def fail(*_: Any) -> None:
            raise RuntimeError("no schedule today")

        session._depart = fail  # type: ignore[method-assign]
    else:
        keep, asked = recorder.Recorder.record, []

        def once(self: recorder.Recorder, *sample: Any) -> None:
            asked.append(sample)
            if len(asked) == 2:
                raise ValueError("no such request")
            keep(self, *sample)

        recorder.Recorder.record = once  # type: ignore[method-assign, assignment]


def main() -> None:
    """Read the host, what goes wrong, and the folder of runs from the command line."""
    host, what, folder = sys.argv[1:4]
    os.chdir(folder)
    # Tracebacks belong to whoever wrote what fails, and here that is this file.
    logging.disable()
    gevent.get_hub().exception_stream = None
    environment = Environment(user_classes=[Asker], host=host)
    environment.parsed_options = Namespace(
        headless=True,
        open_loop=True,
        run_dir="",
        harness_run_id="",
        load_duration="1s" if what == "recorder" else "",
        max_requests=None,
        budget_usd=None,
        num_users=1,
        processes=None,
    )
    environment.create_local_runner()
    session = Session()
    session.open_loop = True
    environment.harness_session = session  # type: ignore[attr-defined]
    spoil(what, session)
    owner, begin = Owner(environment, session), time.monotonic()
    owner.begin()
    environment.events.test_start.fire(environment=environment)
    while owner._sending is not None and time.monotonic() - begin < 40:
        gevent.sleep(0.05)
    (run,) = [p for p in Path("reports").iterdir() if not p.is_symlink()]
    print(
        json.dumps(
            {
                "code": environment.process_exit_code,
                "seconds": time.monotonic() - begin,
                "run": str(run),
            }
        )
    )


main()
