"""A load process of a master: does what its plan says, reports, and ends with its master."""

from __future__ import annotations

import os
import socket
from typing import Any

import gevent
import psutil

from harness.load import clock
from harness.load.fingerprint import fingerprints
from harness.load.messages import (
    CANNOT,
    HELLO,
    PLAN,
    REFUSED,
    REPORT,
    SILENCE_SECONDS,
    STOP,
    explained,
    listen_closely,
    say,
    version,
)
from harness.load.people import agent_users, stop_users, travellers
from harness.load.plan import Plan
from harness.load.session import Session

_LOOK_SECONDS = 0.5


class Worker:
    """Records, reports to the master, and hands over the rest when asked to stop."""

    def __init__(self, environment: Any, session: Session) -> None:
        """Greet the master, and wait for its plan."""
        self._environment = environment
        self._runner = environment.runner
        self._session = session
        self._silent_seconds = 0.0
        self._files = fingerprints(agent_users(environment))
        session.await_plan()
        for kind, listener in (
            (PLAN, self._planned),
            (STOP, self._stop),
            (REFUSED, self._refused),
        ):
            self._runner.register_message(kind, listener, concurrent=True)
        events = environment.events
        events.test_start.add_listener(self._test_start)
        events.test_stop.add_listener(lambda **_: session.await_plan())
        events.report_to_master.add_listener(self._report)
        events.heartbeat_received.add_listener(self._heard)
        events.quitting.add_listener(self._quitting)
        self._runner.send_message(HELLO, self._facts())
        parent = os.getppid() if environment.parsed_options.processes else None
        gevent.spawn(self._watch_master, parent)
        gevent.spawn(listen_closely, lambda: self._runner.client.socket)

    def _facts(self) -> dict[str, Any]:
        return {
            "version": version(),
            "users": [user.__name__ for user in agent_users(self._environment)],
            "files": self._files,
            "machine": socket.gethostname(),
            "process": [os.getpid(), psutil.Process().create_time()],
        }

    # -- what the master says ------------------------------------------------------

    def _test_start(self, **_: Any) -> None:
        # Locust's users begin now. In an open loop they only wait; the plan may come later.
        self._session.open_loop = self._environment.parsed_options.open_loop

    def _planned(self, msg: Any, **_: Any) -> None:
        classes = {user.__name__: user for user in agent_users(self._environment)}
        try:
            plan = Plan.of(msg.data, version())
            clock.follow(plan.clock)
            self._session.begin(plan, classes)
            if plan.open_loop:
                self._session.send(plan, travellers(self._environment, plan, classes))
                self._hand_over()
        except Exception as error:  # noqa: BLE001 - the master would wait for ever
            sentence = explained(error)
            self._runner.send_message(CANNOT, sentence)
            self._leave(sentence, code=2)

    def _stop(self, **_: Any) -> None:
        self._session.stop()
        stop_users(self._environment)
        self._session.wait_until_idle()
        self._hand_over()

    def _refused(self, msg: Any, **_: Any) -> None:
        self._leave(msg.data["sentence"], code=2)

    def _heard(self, **_: Any) -> None:
        self._silent_seconds = 0.0

    # -- what it says to the master --------------------------------------------------

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        data[REPORT] = {"facts": self._facts(), **self._session.report()}

    def _hand_over(self) -> None:
        """Say that this part is over, with everything not yet told, Locust's own counts too."""
        self._session.end()
        data: dict[str, Any] = {}
        self._environment.events.report_to_master.fire(client_id=self._runner.client_id, data=data)
        self._runner.send_message("stats", data)

    def _quitting(self, **_: Any) -> None:
        """Stop without being asked, on Ctrl-C: hand over what there is."""
        if self._silent_seconds < SILENCE_SECONDS and not self._session.progress().over:
            self._stop()

    # -- its end -----------------------------------------------------------------------

    def _watch_master(self, parent: int | None) -> None:
        """End with the master: with its process where that is the parent, else by its silence."""
        while True:
            gevent.sleep(_LOOK_SECONDS)
            # Counted in turns of this loop: a process that was suspended heard nothing either.
            self._silent_seconds += _LOOK_SECONDS
            if parent is not None and os.getppid() != parent:
                self._silent_seconds = SILENCE_SECONDS
                self._leave("the master is gone; this load process ends", code=1)
                return
            if self._silent_seconds >= SILENCE_SECONDS:
                self._leave(
                    f"nothing was heard of the master for {SILENCE_SECONDS:.0f} s; this load "
                    "process ends",
                    code=1,
                )
                return

    def _leave(self, sentence: str, code: int) -> None:
        """Send nothing more, say why, and end."""
        self._session.stop()
        say(sentence)
        self._environment.process_exit_code = code
        gevent.spawn(self._runner.quit)
