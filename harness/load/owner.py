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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import httpx
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner

from harness import provenance
from harness.credentials import target_headers
from harness.load import clock
from harness.load.arrivals import seconds
from harness.load.hands import Alone, Hands
from harness.load.limits import Limits, cost_by
from harness.load.messages import explained, say, version
from harness.load.people import agent_users
from harness.load.plan import WARMUP, Phase, Plan, PlanError, Prices
from harness.load.prepare import Target
from harness.load.recorder import Recorder
from harness.load.session import Session, schedule_of
from harness.load.user import AgentUser
from harness.load.window import OpenWindow, harness
from harness.load.workers import Workers
from harness.model import HarnessError, Run, Window
from harness.prices import ModelPrice, PriceBook, load_prices
from harness.runs import RunDirectory, WindowRecord

log = logging.getLogger("harness.load")

_TICK_SECONDS = 0.05
_WORKERS_COME_SECONDS = 10.0
# Workers in a loop are soon back; who has started none is told then.
_WORKERS_LATE_SECONDS = 3.0


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
        self._preparation = Limits(None, None, cost_by(PriceBook(()), {}))
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
        try:
            self._make_ready()
        except Exception as error:  # noqa: BLE001 - Locust would go on without a run
            self._refuse(explained(error))

    def _make_ready(self) -> None:
        self._environment.host = self._host
        if problem := _unreachable(self._host):
            raise PlanError(problem)
        if self._workers is not None:
            self._workers.scenarios = {user.__name__ for user in self._users}
        if self._session.open_loop:
            schedule_of("measure", self._lengths("measure"), self._classes)
            self._check_ceiling()
        run = self._begin_run()
        self._prices = self._price_book()
        if self._options.headless:
            self._await_workers()
        self._prepare(run)
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

    def _check_ceiling(self) -> None:
        ceiling, processes = self._ceiling, self._processes
        if ceiling < processes:
            names = " + ".join(f"{name}.ceiling" for name in self._classes)
            raise PlanError(
                f"{names} is {ceiling}, which {processes} load processes cannot share: each needs "
                "one journey at least; raise it, or send from fewer"
            )

    def _await_workers(self) -> None:
        """Wait for the workers; raises PlanError when they do not come, or are unfit."""
        if self._workers is None:
            return
        expected, begin = self._options.expect_workers, time.monotonic()
        limit = self._options.expect_workers_max_wait
        told = False
        while self._workers.joined < expected:
            if self._workers.refusals:
                raise PlanError(self._workers.refusals[0])
            if limit and time.monotonic() - begin > limit:
                raise PlanError(
                    f"{self._workers.joined} of {expected} load processes joined within "
                    f"{limit} s; start the others with: locust -f ... --worker --master-host ..."
                )
            if not told and time.monotonic() - begin > _WORKERS_LATE_SECONDS:
                told = True
                missing = expected - self._workers.joined
                log.info("waiting for %d of %d load processes", missing, expected)
            gevent.sleep(_TICK_SECONDS)

    def _prepare(self, run: Run) -> None:
        log.info("run %s: preparing %s", run.id, ", ".join(u.scenario() for u in self._users))
        self._answers = {}
        options = self._options
        self._preparation = Limits(
            options.max_requests,
            options.budget_usd,
            cost_by(
                PriceBook(tuple(ModelPrice(*price) for price in self._prices)),
                {user.scenario(): user.model for user in self._users},
            ),
        )
        for user in sorted(self._users, key=lambda u: u.scenario()):
            target = Target(
                self._host,
                run.id,
                user.api,
                self._answers,
                user.scenario(),
                self._preparation,
            )
            for step in user.prepare:
                step(target)
        if any(part.name == "LLM" and part.real for part in run.parts):
            self._answers = {}  # a real one may say the same in other words

    def _refuse(self, sentence: str) -> None:
        """
        End before any load, and with it the workers, who would wait a minute for a master.

        With a web UI, only this load ends: its user reads why there, and may start another.
        """
        runner = self._environment.runner
        say(sentence)
        if not self._options.headless:
            runner.log_exception("harness", sentence, sentence)
            gevent.spawn(_stop_when_started, runner)
            return
        if isinstance(runner, MasterRunner):
            deadline = time.monotonic() + _WORKERS_COME_SECONDS
            while len(runner.clients.ready) < self._come and time.monotonic() < deadline:
                gevent.sleep(0.1)
            runner.quit()
        sys.exit(2)

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
    def _processes(self) -> int:
        return int(self._options.expect_workers) if self._workers is not None else 1

    @property
    def _ceiling(self) -> int:
        return sum(user.ceiling for user in self._users)

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
            elif phase == WARMUP:
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
            slots=self._processes,
            ceiling=self._ceiling,
            answers=self._answers,
            max_requests=self._preparation.left,
            budget_usd=(
                None
                if options.budget_usd is None
                else max(0.0, options.budget_usd - self._preparation.spent_usd)
            ),
            prices=self._prices,
        )

    def _run_phase(self, phase: Phase) -> None:
        """Have a phase sent, and wait until every journey of it is over."""
        lengths = self._lengths(phase)
        schedule = schedule_of(phase, lengths, self._classes)
        self._hands.begin(self._plan(phase, len(schedule), lengths), schedule)
        self._wait_until(self._hands.over)

    def _wait_until(self, over: Callable[[], bool]) -> None:
        """Wait, as long as what is measured can be written down; else raises HarnessError."""
        while not over():
            if self._window is not None and self._window.trouble:
                raise HarnessError(self._window.trouble)
            gevent.sleep(_TICK_SECONDS)

    def _run_open_loop(self) -> None:
        """Warm up, open the window, send what is measured, close; then Locust may go."""
        try:
            if any(self._lengths(WARMUP).values()):
                self._run_phase(WARMUP)
            self._open_window()
            self._run_phase("measure")
            self._close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the load must end
            self._break_off(error)
        self._let_locust_go()

    def _watch_closed_loop(self) -> None:
        """End a closed loop when nobody may send any more, or nothing can be written down."""
        try:
            self._wait_until(self._hands.limits_reached)
        except Exception as error:  # noqa: BLE001 - as above
            self._break_off(error)
        self._let_locust_go()

    def _let_locust_go(self) -> None:
        runner = self._environment.runner
        self._sending = None
        gevent.spawn(runner.quit if self._options.headless else runner.stop)

    def _break_off(self, error: Exception) -> None:
        """End a load that cannot go on: say why, keep what there is, leave nothing under way."""
        sentence = f"the load was broken off: {explained(error)}"
        say(sentence)
        self._environment.process_exit_code = 2
        if self._window is not None:
            self._window.notes.append(sentence)
        try:
            self._hands.stop()
            self._close()
        except Exception as more:  # noqa: BLE001 - the record says that the window is open
            say(f"the window could not be closed: {explained(more)}")
            self._begun = False

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
                self._processes,
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
            say(stopped_by)
        window.close(
            account,
            stopped_by=stopped_by,
            prepared=self._preparation,
            budget_usd=self._options.budget_usd,
        )
        self._begun = False
        if not self._options.run_dir:
            self._end_run(self._directory)

    def _end_run(self, directory: RunDirectory) -> None:
        if provenance.knows_langfuse(self._host):
            log.info("reading the traces of run %s", directory.path.name)
            harness("collect", str(directory.path), log=directory)
        directory.write_run(replace(directory.read_run(), ended=clock.now()))
        shown = os.path.relpath(directory.path)
        log.info("run written; judge it with: harness judge %s", shown)

    # -- Locust's starts and stops -----------------------------------------------------

    def _test_start(self, **_: Any) -> None:
        if not self._begun:
            self.begin()
        if not self._begun:
            return
        if self._session.open_loop:
            self._sending = gevent.spawn(self._run_open_loop)
            return
        self._hands.begin(self._plan("measure", 0, self._lengths("measure")), None)
        self._sending = gevent.spawn(self._watch_closed_loop)

    def _test_stopping(self, **_: Any) -> None:
        """Before Locust kills users in mid-request: let them finish."""
        if self._sending is not None:
            self._sending.kill()
            self._sending = None
        if self._begun and not self._hands.stop() and self._window is not None:
            self._window.notes.append("some requests did not end and were cut off")

    def _test_stop(self, **_: Any) -> None:
        # Users that were killed record their last request as cut off before this.
        try:
            self._close()
        except Exception as error:  # noqa: BLE001 - Locust would go on as if it were closed
            self._break_off(error)
        self._begun = False
        self._session.await_plan()


def _stop_when_started(runner: Any) -> None:
    """Stop what Locust has just begun to start; before, it would not listen."""
    while runner.state not in (STATE_SPAWNING, STATE_RUNNING):
        gevent.sleep(_TICK_SECONDS)
    runner.stop()


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
