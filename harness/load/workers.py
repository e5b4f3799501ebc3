"""The workers of a master as its hands: who is there, which slot each has, what they report."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import gevent
import psutil
from locust.runners import STATE_MISSING, MasterRunner

from harness.load import clock
from harness.load.crew import Crew, Part, PhaseAccount
from harness.load.fingerprint import fingerprints, strangers
from harness.load.hands import counted
from harness.load.messages import (
    CANNOT,
    HELLO,
    PLAN,
    REFUSED,
    REPORT,
    SILENCE_SECONDS,
    STOP,
    listen_closely,
    say,
    version,
)
from harness.load.people import agent_users
from harness.load.plan import Plan, Progress, Schedule, share
from harness.load.recorder import Recorder
from harness.load.session import FINISH_SECONDS
from harness.model import GeneratorSecond

_LOOK_SECONDS = 0.2
# When a process began is told by the wall clock, which may be set a little meanwhile.
_CLOCK_SET_SECONDS = 2.0
# Time to make their users before the first arrival is due.
_NOTICE_SECONDS = 0.6


class Workers:
    """The workers of a master, who come, report every second, and may die."""

    def __init__(self, runner: MasterRunner, recorder: Callable[[], Recorder]) -> None:
        """Listen for workers; `recorder` gives the one that takes in what they report."""
        self._runner = runner
        self._recorder = recorder
        self._crew = Crew(0)
        self._facts: dict[str, Mapping[str, Any]] = {}
        self._turned_away: dict[str, str] = {}
        self._plan: Plan | None = None
        self._began = clock.now()
        self._seconds: list[GeneratorSecond] = []
        self._near: dict[str, tuple[int, float]] = {}
        self._notes: list[str] = []
        self.scenarios: set[str] = set()
        self.refusals: list[str] = []
        runner.environment.events.worker_report.add_listener(self._reported)
        runner.register_message(HELLO, self._greeted)
        runner.register_message(CANNOT, self._cannot)
        runner.greenlet.spawn(self._look_forever)
        runner.greenlet.spawn(listen_closely, lambda: runner.server.socket)

    # -- what the owner does -----------------------------------------------------

    @property
    def joined(self) -> int:
        """How many load processes are there, of the right version and with our scenarios."""
        return len(self._crew)

    def begin(self, plan: Plan, schedule: Schedule | None) -> None:
        """Send every load process its plan."""
        if self._plan is None or plan.run_id != self._plan.run_id:
            self._begin_run(plan)
        notice = _NOTICE_SECONDS if plan.open_loop else 0.0
        self._plan = replace(plan, begins_in=notice)
        self._began = clock.now() + self._plan.begins_in
        self._crew.begin(plan.phase, *counted(plan, schedule))
        for part in self._crew:
            self._send_plan(part)
        self._fill(0.0)

    def _begin_run(self, plan: Plan) -> None:
        # Each slot needs a place under the ceiling; who gets none stands by.
        most = min(self.joined, plan.ceiling) if plan.open_loop else self.joined
        crew = Crew(max(plan.slots, most))
        for node in self._facts:
            if node in self._crew:
                crew.join(node, self._runner.get_worker_index(node))
        self._crew, self._seconds, self._notes = crew, [], []

    def over(self) -> bool:
        """Whether nothing more will come of those who are there."""
        return self._crew.over

    def stop(self) -> bool:
        """Tell all to stop, and wait until each has handed over the rest or is gone."""
        for node in self._crew.alive:
            self._runner.send_message(STOP, client_id=node)
        deadline = clock.now() + FINISH_SECONDS + SILENCE_SECONDS
        while not self._crew.over and clock.now() < deadline:
            gevent.sleep(0.05)
        return self._crew.over

    def account(self) -> PhaseAccount:
        """Tell what became of the phase, at its end."""
        account = self._crew.account()
        return replace(account, notes=(*self._notes, *account.notes))

    def take_seconds(self) -> list[GeneratorSecond]:
        """Hand over what the load processes noted of themselves, as far as it has come."""
        taken, self._seconds = self._seconds, []
        return taken

    def limits_reached(self) -> bool:
        """Whether each of those who are there has used up its share."""
        parts = [part for part in self._crew if part.gone_at is None]
        return bool(parts) and all(part.progress.reached for part in parts)

    # -- who comes, and who goes ---------------------------------------------------

    def _greeted(self, environment: Any, msg: Any, **_: Any) -> None:
        del environment
        self._meet(msg.node_id, msg.data)

    def _meet(self, node: str, facts: Mapping[str, Any]) -> None:
        """Take a load process in, or send it away and say why."""
        if node in self._facts or node in self._turned_away:
            return
        if problem := self._unfit(node, facts):
            self._turned_away[node] = problem
            self.refusals.append(problem)
            self._notes.append(problem)
            if self._plan is not None:  # before, the owner ends with this sentence
                say(problem)
            self._runner.send_message(REFUSED, {"sentence": problem}, client_id=node)
            return
        self._facts[node] = facts
        if facts["machine"] == socket.gethostname() and _lives(*facts["process"]):
            self._near[node] = tuple(facts["process"])
        self._crew.join(node, self._runner.get_worker_index(node))
        self._fill(self._now)

    def _unfit(self, node: str, facts: Mapping[str, Any]) -> str:
        who = f"load process {self._runner.get_worker_index(node)}"
        if facts.get("version") != version():
            return (
                f"{who} runs harness {facts.get('version', 'of an unknown version')} and the "
                f"master {version()}; install the same version on both machines"
            )
        if missing := sorted(self.scenarios - set(facts["users"])):
            return (
                f"{who} has no scenario {', '.join(missing)}, only "
                f"{', '.join(sorted(facts['users']))}; start it with the same -f as the master"
            )
        own = fingerprints(agent_users(self._runner.environment))
        if other := strangers(own, facts["files"]):
            return (
                f"{who} has another scenario {', '.join(other)} than the master; give all "
                "machines the same scenario files"
            )
        return ""

    def _cannot(self, environment: Any, msg: Any, **_: Any) -> None:
        """A load process was sent a plan that it cannot follow."""
        del environment
        self.refusals.append(msg.data)
        said = f"load process {self._runner.get_worker_index(msg.node_id)}: {msg.data}"
        self._notes.append(said)
        say(said)
        self._crew.leave(msg.node_id, self._now)

    def _look_forever(self) -> None:
        while True:
            gevent.sleep(_LOOK_SECONDS)
            for node in list(self._facts):
                if node in self._crew and self._gone(node):
                    self._lose(node)

    def _lose(self, node: str) -> None:
        """Let another have the slot of a load process that is gone, and tell the user at once."""
        had_more = node in self._crew.alive
        self._crew.leave(node, self._last_moment(node))
        others = self._fill(self._now)
        if had_more:
            then = (
                f"load process {others[0].process} takes its place"
                if others
                else "its arrivals are not sent until another one takes its place"
            )
            say(f"load process {self._runner.get_worker_index(node)} is lost; {then}")

    def _gone(self, node: str) -> bool:
        if node in self._near and not _lives(*self._near[node]):
            return True
        client = self._runner.clients.get(node)
        return client is None or client.state == STATE_MISSING

    def _last_moment(self, node: str) -> float:
        """Until when a load process that is gone may have sent, in this phase."""
        if node in self._near:
            return self._now  # it was seen to end
        # It may live and only be cut off; then it ends itself when it has heard nothing so long.
        heard = max((p.heard_at for p in self._crew if p.node == node), default=0.0)
        return max(self._now, heard + SILENCE_SECONDS)

    def _fill(self, at: float) -> list[Part]:
        """Give free slots to whoever has none, if a phase is under way; gives the new parts."""
        if self._plan is None:
            return []
        if not self._plan.open_loop:
            self._crew.slots = max(self._crew.slots, self.joined)  # Locust gives all of them users
        parts = self._crew.fill(max(0.0, at))
        for part in parts:
            self._send_plan(part)
        return parts

    def _send_plan(self, part: Part) -> None:
        whole = self._plan
        if whole is None:
            return
        slots = self._crew.slots
        requests, usd = whole.max_requests, whole.budget_usd
        used_requests, used_usd = self._crew.used(part.slot)
        plan = replace(
            whole,
            clock=clock.now(),
            begins_in=whole.begins_in if part.since == 0 else -part.since,
            begins_at=self._began if part.node in self._near else None,
            process=part.process,
            slot=part.slot,
            slots=slots,
            ceiling=share(whole.ceiling, part.slot, slots),
            max_requests=(
                None
                if requests is None
                else max(0, share(requests, part.slot, slots) - used_requests)
            ),
            budget_usd=None if usd is None else max(0.0, usd / slots - used_usd),
        )
        self._runner.send_message(PLAN, plan.values(), client_id=part.node)

    @property
    def _now(self) -> float:
        return clock.now() - self._began

    # -- what they report ------------------------------------------------------------

    def _reported(self, client_id: str, data: dict[str, Any]) -> None:
        report = data.get(REPORT)
        if report is None:
            return
        try:
            self._take_in(client_id, report)
        except Exception as error:  # noqa: BLE001 - Locust would drop the report in silence
            process = self._runner.get_worker_index(client_id)
            note = (
                f"reports of load process {process} could not be read "
                f"({type(error).__name__}: {error}); their requests are missing"
            )
            if note not in self._notes:
                self._notes.append(note)

    def _take_in(self, node: str, report: Mapping[str, Any]) -> None:
        self._meet(node, report.get("facts", {}))
        if node not in self._facts:
            return
        if node not in self._crew and node in self._runner.clients and not self._gone(node):
            if self._crew.back(node):
                self._crew.join(node, self._runner.get_worker_index(node))
            else:
                self._runner.send_message(STOP, client_id=node)
        recorded = report["recorded"]
        self._recorder().absorb(recorded)
        self._crew.told(node, Progress.of(report["progress"]), len(recorded["rows"]), self._now)
        if self._plan is not None and self._plan.phase == "measure":
            self._seconds += [GeneratorSecond(**second) for second in report["seconds"]]


def _lives(pid: int, since: float) -> bool:
    """Whether a process of this machine still runs, and is the one that began then."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - since) < _CLOCK_SET_SECONDS
        return same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
