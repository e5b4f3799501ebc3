"""
Where the harness meets Locust: options, and what happens at its start and stop.

The owner of a run is a Locust on its own or a master: it makes or opens the
run directory, prepares the target, opens and closes the window. Workers record
and send rows and histograms with Locust's own reports; when the load stops,
the master first lets them finish what is under way and hand over the rest.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import httpx
from locust import events
from locust.runners import MasterRunner, WorkerRunner

from harness import provenance
from harness.load import clock
from harness.load.prepare import PreparationError, Target, authorization
from harness.load.recorder import Recorder
from harness.load.session import Session
from harness.load.user import AgentUser
from harness.load.window import OpenWindow, harness
from harness.runs import RunDirectory

log = logging.getLogger("harness.load")

_DRAIN, _DRAINED = "harness_drain", "harness_drained"
_DRAIN_LIMIT_SECONDS = 120.0
_WORKERS_COME_SECONDS = 10.0


def install() -> None:
    """Hook into Locust; done once per process, however many scenario files there are."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_init)


def _add_options(parser: Any) -> None:
    for flag, help_text in (
        (
            "--run-dir",
            "Write into this run directory, which exists (default: a new one in reports)",
        ),
        ("--harness-run-id", "Set by the harness itself: the run that workers belong to"),
        ("--load-duration", "Send for this long instead of what the scenario declares, as 30s"),
    ):
        parser.add_argument(flag, default="", help=help_text, include_in_web_ui=False)
    parser.add_argument(
        "--open-loop",
        action="store_true",
        help="Send at the arrivals that the scenario declares, whatever the server does",
        include_in_web_ui=False,
    )


def _init(environment: Any, **_: Any) -> None:
    # Locust's --run-time counts from the loop's clock, which stood still during the imports.
    gevent.get_hub().loop.update_now()
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    options = environment.parsed_options
    session = Session(open_loop=options.open_loop, duration=options.load_duration or None)
    environment.harness_session = session
    if isinstance(environment.runner, WorkerRunner):
        _Worker(environment, session)
        return
    owner = _Owner(environment, session)
    if options.open_loop and isinstance(environment.runner, MasterRunner):
        _stop(2, "--open-loop runs in one process; leave out --processes and --master")
    if options.headless:
        # Now and not at test_start: --run-time is already running by then.
        owner.begin()
        gevent.get_hub().loop.update_now()


def _stop(code: int, sentence: str) -> None:
    print(f"harness: {sentence}", file=sys.stderr)  # noqa: T201 - the user's terminal
    sys.exit(code)


class _Owner:
    """Opens the run and the window, and closes both."""

    def __init__(self, environment: Any, session: Session) -> None:
        self._environment = environment
        self._session = session
        self._window: OpenWindow | None = None
        self._directory: RunDirectory | None = None
        self._drained: set[str] = set()
        environment.harness_owner = self
        environment.events.test_start.add_listener(self._test_start)
        environment.events.test_stopping.add_listener(self._test_stopping)
        environment.events.test_stop.add_listener(self._test_stop)
        if isinstance(environment.runner, MasterRunner):
            environment.events.worker_report.add_listener(self._worker_report)
            environment.runner.register_message(_DRAINED, self._worker_drained)

    @property
    def _users(self) -> list[type[AgentUser]]:
        return _agent_users(self._environment)

    @property
    def _host(self) -> str:
        return str(self._environment.host or "").rstrip("/")

    def begin(self) -> None:
        """Check the target, make or open the run, prepare; in a closed loop open the window."""
        options = self._environment.parsed_options
        self._environment.host = self._host
        if problem := _unreachable(self._host):
            self._refuse(problem)
        if options.run_dir:
            self._directory = RunDirectory(Path(options.run_dir))
            run = self._directory.read_run()
            if self._window_name() not in run.expected_windows:
                self._refuse(self._misnamed(run.expected_windows))
            gevent.spawn(_end_with, os.getppid(), self._environment.runner)
        else:
            run = provenance.new_run(
                time.time(),
                self._host,
                provenance.shown_command(["locust", *sys.argv[1:]]),
                (self._window_name(),),
                provenance.stack_of(self._host),
            )
            self._directory = RunDirectory.create(Path("reports"), run)
        self._session.run_id = options.harness_run_id = run.id
        log.info("run %s: preparing %s", run.id, ", ".join(u.scenario() for u in self._users))
        target = Target(self._host, run.id)
        try:
            for user in sorted(self._users, key=lambda u: u.scenario()):
                for step in user.prepare:
                    step(target)
        except PreparationError as error:
            self._refuse(str(error))
        if not self._session.open_loop:
            self.open_window()

    def _window_name(self) -> str:
        return self._users[0].scenario() if len(self._users) == 1 else "mixed"

    def _refuse(self, sentence: str) -> None:
        """End before any load, and with it the workers, who would wait a minute for a master."""
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            expected = self._environment.parsed_options.expect_workers
            deadline = time.monotonic() + _WORKERS_COME_SECONDS
            while len(runner.clients.ready) < expected and time.monotonic() < deadline:
                gevent.sleep(0.1)
            runner.quit()
        _stop(2, sentence)

    def _misnamed(self, expected: tuple[str, ...]) -> str:
        names = ", ".join(u.__name__ for u in self._users) or "no AgentUser"
        return (
            f"the scenario file declares {names}, so its window would be {self._window_name()}, "
            f"which is not among {', '.join(expected)}; name file "
            "and class alike, one class a file"
        )

    def open_window(self) -> OpenWindow:
        """Open the window of this load; called by the open loop itself after its warm-up."""
        if self._directory is None:
            msg = "no run was begun"
            raise RuntimeError(msg)
        runner = self._environment.runner
        distributed = isinstance(runner, MasterRunner)
        arrivals = (
            str(self._users[0].arrivals)
            if self._session.open_loop
            else f"closed loop, {self._environment.parsed_options.num_users or 1} users"
        )
        self._window = OpenWindow(
            self._directory,
            self._session.recorder,
            self._host,
            tuple(sorted(u.scenario() for u in self._users)),
            arrivals,
            open_loop=self._session.open_loop,
            processes=self._environment.parsed_options.expect_workers if distributed else 1,
        )
        log.info("window %s is open", self._window.name)
        return self._window

    def run_schedule(self, user: AgentUser) -> None:
        """Run the open loop of a user to its end, then let Locust quit."""
        if user.arrivals is None:
            _stop(2, f"{type(user).__name__} declares no arrivals; add arrivals = Poisson(...)")
            return
        self._session.run_schedule(user.arrivals, user.journey, self.open_window)
        gevent.spawn(self._environment.runner.quit)

    def _test_start(self, **_: Any) -> None:
        _deal(self._environment, self._session)
        if self._window is None and not self._session.open_loop:
            self.begin()

    def _test_stopping(self, **_: Any) -> None:
        """Before Locust kills users in mid-request: let them finish."""
        if self._window is None:
            return
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            self._drain_workers(runner)
        elif not _finish(self._environment, self._session):
            self._window.notes.append("some requests did not end and were cut off")

    def _drain_workers(self, runner: MasterRunner) -> None:
        waited_for = {client.id for client in runner.clients.all}
        for client in waited_for:
            runner.send_message(_DRAIN, client_id=client)
        deadline = time.monotonic() + _DRAIN_LIMIT_SECONDS
        while time.monotonic() < deadline:
            gone = {c.id for c in runner.clients.missing} | (waited_for - set(runner.clients))
            if waited_for <= self._drained | gone:
                break
            gevent.sleep(0.05)
        expected = self._environment.parsed_options.expect_workers
        if self._window and len(waited_for) > expected:
            self._window.notes.append(
                f"{len(waited_for)} load processes took part where {expected} were expected; "
                "another load may use the same --master-bind-port"
            )
        lost = waited_for - self._drained
        if lost and self._window:
            self._window.notes.append(
                f"{len(lost)} of {len(waited_for)} load processes did not hand over what they "
                "recorded last; up to 3 seconds of their requests are missing"
            )

    def _worker_drained(self, environment: Any, msg: Any, **_: Any) -> None:
        del environment
        self._session.recorder.absorb(msg.data)
        self._drained.add(msg.node_id)

    def _worker_report(self, client_id: str, data: dict[str, Any]) -> None:
        del client_id
        if "harness" in data:
            self._session.recorder.absorb(data["harness"])

    def _test_stop(self, **_: Any) -> None:
        if self._window is None or self._directory is None:
            return
        runner = self._environment.runner
        alone = not isinstance(runner, MasterRunner)
        # The users that were killed record their last request as cut off before this.
        self._window.close(runner.stats.total.num_requests if alone else None)
        self._window = None
        self._session.recorder = Recorder()
        self._drained = set()
        if not self._environment.parsed_options.run_dir:
            self._end_run(self._directory)

    def _end_run(self, directory: RunDirectory) -> None:
        log.info("reading the traces of run %s", directory.path.name)
        harness("collect", str(directory.path), log=directory)
        directory.write_run(replace(directory.read_run(), ended=clock.now()))
        shown = os.path.relpath(directory.path)
        log.info("run written; judge it with: harness judge %s", shown)


class _Worker:
    """Records, reports to the master, and hands over the rest when asked to stop."""

    def __init__(self, environment: Any, session: Session) -> None:
        self._environment = environment
        self._session = session
        environment.events.test_start.add_listener(self._test_start)
        environment.events.report_to_master.add_listener(self._report)
        environment.events.quitting.add_listener(self._quitting)
        environment.runner.register_message(_DRAIN, self._drain, concurrent=True)

    def _test_start(self, **_: Any) -> None:
        options = self._environment.parsed_options
        self._session.run_id = options.harness_run_id
        self._session.share = (
            max(0, self._environment.runner.worker_index),
            max(1, options.expect_workers),
        )
        _deal(self._environment, self._session)

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        data["harness"] = self._session.recorder.pack()

    def _drain(self, **_: Any) -> None:
        _finish(self._environment, self._session)
        self._hand_over()

    def _quitting(self, **_: Any) -> None:
        """Stop without being asked, on Ctrl-C: hand over what there is."""
        if not self._session.stopping:
            self._drain()

    def _hand_over(self) -> None:
        self._environment.runner.send_message(_DRAINED, self._session.recorder.pack())


def _agent_users(environment: Any) -> list[type[AgentUser]]:
    return [user for user in environment.user_classes if issubclass(user, AgentUser)]


def _deal(environment: Any, session: Session) -> None:
    """Begin a load afresh: with whole decks, or this process's share of them."""
    session.stopping = False
    for user in _agent_users(environment):
        if user.questions is not None:
            user.questions.split(*session.share)


def _finish(environment: Any, session: Session) -> bool:
    """Let no user begin anew and wait for what is under way; False when it takes too long."""
    session.stopping = True
    for greenlet in list(environment.runner.user_greenlets):
        if greenlet.args and greenlet.args[0]._state != "stopping":  # noqa: SLF001 - not public
            greenlet.args[0].stop()
    return session.wait_until_idle()


def _end_with(parent: int, runner: Any) -> None:
    """Stop when the harness that started this load is gone, however it ended."""
    while os.getppid() == parent:
        gevent.sleep(1)
    runner.quit()


def _unreachable(host: str) -> str:
    """Why a target cannot be sent anything, in one sentence; empty when it can."""
    if problem := provenance.wrong_address(host):
        return f"--host: {problem}"
    try:
        httpx.get(host + "/health", headers=authorization(), timeout=10)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the target {host} cannot be reached: {error}; start it, or give another --host"
    return ""


install()
