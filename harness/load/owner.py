"""
The owner of a run: a Locust on its own, or a master.

It checks the target, makes or opens the run directory, prepares the target,
opens the window, has the load sent by its hands (harness.load.hands), and
writes down what became of it. In an open loop it says when: first the warm-up,
then what is measured. In a closed loop Locust starts and stops the users.
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
from locust.runners import MasterRunner

from harness import provenance
from harness.credentials import target_headers
from harness.load import clock
from harness.load.arrivals import seconds
from harness.load.hands import Alone, Hands, Workers, agent_users
from harness.load.messages import version
from harness.load.plan import Phase, Plan, PlanError, Prices
from harness.load.prepare import Target
from harness.load.recorder import Recorder
from harness.load.session import Session, schedule_of
from harness.load.user import AgentUser
from harness.load.window import OpenWindow, harness
from harness.model import HarnessError, Run, Window
from harness.prices import load_prices
from harness.runs import RunDirectory, WindowRecord

log = logging.getLogger("harness.load")

_TICK_SECONDS = 0.05
_WORKERS_COME_SECONDS = 10.0


def stop(code: int, sentence: str) -> None:
    """End the process, saying why where its user looks."""
    print(f"harness: {sentence}", file=sys.stderr)  # noqa: T201 - the user's terminal
    sys.exit(code)


class Owner:
    """Opens the run and the window, has the load sent, and closes both."""

    def __init__(self, environment: Any, session: Session) -> None:
        """Listen for Locust's starts and stops."""
        self._environment = environment
        self._session = session
        self._options = environment.parsed_options
        self._directory: RunDirectory | None = None
        self._window: OpenWindow | None = None
        self._prices: Prices = ()
        self._answers: dict[str, str] = {}
        self._begun = False
        self._sending: Any = None
        self._hands: Hands
        self._workers: Workers | None = None
        if isinstance(environment.runner, MasterRunner):
            self._workers = Workers(environment.runner, lambda: session.recorder)
            self._hands = self._workers
        else:
            self._hands = Alone(environment, session)
        environment.events.test_start.add_listener(self._test_start)
        environment.events.test_stopping.add_listener(self._test_stopping)
        environment.events.test_stop.add_listener(self._test_stop)

    # -- the beginning ---------------------------------------------------------------

    def begin(self) -> None:
        """Check everything, make or open the run, prepare; in a closed loop open the window."""
        self._environment.host = self._host
        if problem := _unreachable(self._host):
            self._refuse(problem)
        if self._workers is not None:
            self._workers.scenarios = {user.__name__ for user in self._users}
        try:
            run = self._begin_run()
            self._prices = self._price_book()
            if self._session.open_loop:
                self._lengths("measure")
                schedule_of("measure", self._lengths("measure"), self._classes)
            if self._options.headless:
                self._await_workers()
            self._prepare(run)
        except HarnessError as error:
            self._refuse(str(error))
        self._begun = True
        if not self._session.open_loop:
            self._open_window()

    def _begin_run(self) -> Run:
        if self._options.run_dir:
            self._directory = RunDirectory(Path(self._options.run_dir))
            run = self._directory.read_run()
            if self._window_name not in run.expected_windows:
                raise PlanError(self._misnamed(run.expected_windows))
            gevent.spawn(_end_with, os.getppid(), self._environment.runner)
        else:
            run = provenance.new_run(
                time.time(),
                self._host,
                provenance.shown_command(["locust", *sys.argv[1:]]),
                (self._window_name,),
                provenance.stack_of(self._host),
            )
            self._directory = RunDirectory.create(Path("reports"), run)
        self._options.harness_run_id = run.id
        return run

    def _price_book(self) -> Prices:
        """Read what the models cost, where that matters; raises HarnessError when one has none."""
        if self._options.budget_usd is None or self._directory is None:
            return ()
        own = self._directory.path / "prices.yaml"
        path = own if own.exists() else Path("prices.yaml")
        if not path.exists():
            raise PlanError("--budget-usd needs prices: there is no prices.yaml in this folder")
        book = load_prices(path)
        for user in self._users:
            if book.find(user.model) is None:
                raise PlanError(
                    f"--budget-usd: {path.name} has no price for {user.model!r}, the model of "
                    f"{user.scenario()}; add it there, or set {user.__name__}.model to one it has"
                )
        return tuple((m.name, m.match, dict(m.per_token)) for m in book.models)

    def _await_workers(self) -> None:
        """Wait for the workers; raises PlanError when they do not come, or are unfit."""
        if self._workers is None:
            return
        expected, begin = self._options.expect_workers, time.monotonic()
        limit = self._options.expect_workers_max_wait
        while self._workers.joined < expected:
            if self._workers.refusals:
                raise PlanError(self._workers.refusals[0])
            if limit and time.monotonic() - begin > limit:
                raise PlanError(
                    f"{self._workers.joined} of {expected} load processes joined within "
                    f"{limit} s; start the others with: locust -f ... --worker --master-host ..."
                )
            gevent.sleep(_TICK_SECONDS)

    def _prepare(self, run: Run) -> None:
        log.info("run %s: preparing %s", run.id, ", ".join(u.scenario() for u in self._users))
        self._answers = {}
        for user in sorted(self._users, key=lambda u: u.scenario()):
            target = Target(self._host, run.id, user.api, self._answers)
            for step in user.prepare:
                step(target)
        if any(part.name == "LLM" and part.real for part in run.parts):
            self._answers = {}  # a real one may say the same in other words

    def _refuse(self, sentence: str) -> None:
        """End before any load, and with it the workers, who would wait a minute for a master."""
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            deadline = time.monotonic() + _WORKERS_COME_SECONDS
            while len(runner.clients.ready) < self._come and time.monotonic() < deadline:
                gevent.sleep(0.1)
            runner.quit()
        stop(2, sentence)

    @property
    def _come(self) -> int:
        """How many workers surely come: those that Locust started itself."""
        return int(self._options.processes or 0)

    def _misnamed(self, expected: tuple[str, ...]) -> str:
        names = ", ".join(u.__name__ for u in self._users) or "no AgentUser"
        return (
            f"the scenario file declares {names}, so its window would be {self._window_name}, "
            f"which is not among {', '.join(expected)}; name file "
            "and class alike, one class a file"
        )

    # -- what is sent ----------------------------------------------------------------

    @property
    def _users(self) -> list[type[AgentUser]]:
        return agent_users(self._environment)

    @property
    def _classes(self) -> dict[str, type[AgentUser]]:
        return {user.__name__: user for user in self._users}

    @property
    def _host(self) -> str:
        return str(self._environment.host or "").rstrip("/")

    @property
    def _window_name(self) -> str:
        return self._users[0].scenario() if len(self._users) == 1 else "mixed"

    def _lengths(self, phase: Phase) -> dict[str, float]:
        """For how many seconds each scenario lets arrivals come; PlanError where it has none."""
        lengths = {}
        for name, user in self._classes.items():
            if user.arrivals is None:
                if self._session.open_loop:
                    raise PlanError(f"{name} declares no arrivals; add arrivals = Poisson(...)")
                lengths[name] = 0.0
            elif phase == "warmup":
                lengths[name] = seconds(user.arrivals.warmup)
            else:
                lengths[name] = seconds(self._options.load_duration or user.arrivals.duration)
        return lengths

    def _plan(self, phase: Phase, arrivals: int, lengths: dict[str, float]) -> Plan:
        options = self._options
        return Plan(
            version=version(),
            run_id=options.harness_run_id,
            target=self._host,
            open_loop=self._session.open_loop,
            phase=phase,
            users=lengths,
            clock=clock.now(),
            arrivals=arrivals,
            slots=options.expect_workers if self._workers is not None else 1,
            ceiling=sum(user.ceiling for user in self._users),
            answers=self._answers,
            max_requests=options.max_requests,
            budget_usd=options.budget_usd,
            prices=self._prices,
        )

    def _run_phase(self, phase: Phase) -> None:
        """Have a phase sent, and wait until every journey of it is over."""
        lengths = self._lengths(phase)
        schedule = schedule_of(phase, lengths, self._classes)
        self._hands.begin(self._plan(phase, len(schedule), lengths), schedule)
        while not self._hands.over():
            gevent.sleep(_TICK_SECONDS)

    def _run_open_loop(self) -> None:
        """Warm up, open the window, send what is measured, close; then Locust may go."""
        runner = self._environment.runner
        try:
            if any(self._lengths("warmup").values()):
                self._run_phase("warmup")
            self._open_window()
            self._run_phase("measure")
            self._close()
        except HarnessError as error:
            print(f"harness: {error}", file=sys.stderr)  # noqa: T201 - the user's terminal
            self._environment.process_exit_code = 2
        self._sending = None
        gevent.spawn(runner.quit if self._options.headless else runner.stop)

    def _end_at_limit(self) -> None:
        """End a closed loop when nobody may send any more."""
        while not self._hands.limits_reached():
            gevent.sleep(_TICK_SECONDS)
        runner = self._environment.runner
        self._sending = None
        gevent.spawn(runner.quit if self._options.headless else runner.stop)

    # -- the window --------------------------------------------------------------------

    def _open_window(self) -> None:
        if self._directory is None:
            raise RuntimeError("no run was begun")
        name, now = self._window_name, clock.now()
        scenarios = tuple(sorted(user.scenario() for user in self._users))
        lengths = self._lengths("measure")
        arrivals = (
            "; ".join(str(user.arrivals) for user in self._users)
            if self._session.open_loop
            else f"closed loop, {self._options.num_users or 1} users"
        )
        self._session.recorder = Recorder()
        self._window = OpenWindow(
            self._directory,
            self._session.recorder,
            self._hands.take_seconds,
            self._host,
            WindowRecord(
                Window(name, scenarios, now, now + 1e-3),
                arrivals,
                self._session.open_loop,
                self._options.expect_workers if self._workers is not None else 1,
                scheduled_seconds=max(lengths.values()) if self._session.open_loop else None,
            ),
        )
        log.info("window %s is open", self._window.name)

    def _close(self) -> None:
        """Close the window, once, with everything that is known of it."""
        window, self._window = self._window, None
        if window is None or self._directory is None:
            return
        account = self._hands.account()
        stopped_by = account.stopped_by(self._options.max_requests, self._options.budget_usd)
        if stopped_by:
            print(f"harness: {stopped_by}", file=sys.stderr)  # noqa: T201 - the user's terminal
        counted = self._environment.runner.stats.total.num_requests
        window.close(
            account,
            stopped_by=stopped_by,
            locust_requests=counted,
            budget=self._options.budget_usd is not None,
        )
        self._begun = False
        if not self._options.run_dir:
            self._end_run(self._directory)

    def _end_run(self, directory: RunDirectory) -> None:
        log.info("reading the traces of run %s", directory.path.name)
        harness("collect", str(directory.path), log=directory)
        directory.write_run(replace(directory.read_run(), ended=clock.now()))
        shown = os.path.relpath(directory.path)
        log.info("run written; judge it with: harness judge %s", shown)

    # -- Locust's starts and stops -----------------------------------------------------

    def _test_start(self, **_: Any) -> None:
        if not self._begun:
            self.begin()
        if self._session.open_loop:
            self._sending = gevent.spawn(self._run_open_loop)
            return
        self._hands.begin(self._plan("measure", 0, self._lengths("measure")), None)
        if self._options.max_requests is not None or self._options.budget_usd is not None:
            self._sending = gevent.spawn(self._end_at_limit)

    def _test_stopping(self, **_: Any) -> None:
        """Before Locust kills users in mid-request: let them finish."""
        if self._sending is not None:
            self._sending.kill()
            self._sending = None
        if self._begun and not self._hands.stop() and self._window is not None:
            self._window.notes.append("some requests did not end and were cut off")

    def _test_stop(self, **_: Any) -> None:
        # Users that were killed record their last request as cut off before this.
        self._close()
        self._begun = False


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
        httpx.get(host + "/health", headers=target_headers(), timeout=10)
    except HarnessError as error:
        return str(error)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the target {host} cannot be reached: {error}; start it, or give another --host"
    return ""
