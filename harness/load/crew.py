"""
Who sends which slot of a load, what each told of it, and what is lost with those that died.

Pure book-keeping of the owner of a load: no messages and no clocks in here.
A slot belongs to at most one living load process at a time; one that joins late
takes a slot that was never taken or whose process is gone, from then on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.load.plan import Progress

# Counts a slot's arrivals between two offsets of a phase; None where there is no schedule.
Due = Callable[[int, float, float], int]


@dataclass(slots=True)
class Part:
    """
    What one load process does in one phase; offsets are seconds since the phase began.

    `rate` is how many requests a second it recorded between its last two reports.
    """

    node: str
    process: int
    slot: int
    since: float
    progress: Progress = field(default_factory=Progress)
    received: int = 0
    heard_at: float = 0.0
    rate: float = 0.0
    gone_at: float | None = None

    @property
    def alive(self) -> bool:
        """Whether more may come of it."""
        return self.gone_at is None and not self.progress.over


@dataclass(frozen=True, slots=True)
class PhaseAccount:
    """
    What became of a phase, all load processes together.

    `not_sent` of the `planned` arrivals were neither begun nor shed, nor
    perhaps begun by a process that died; `may_be_lost` requests were perhaps
    sent by such a one, or told and not received. `reached` names the limit that
    ended the sending of at least one process, `reached_at` when the last did, and
    `option` which of the user's options it is. `used_up` are the scenarios that
    had nothing left to ask: why, and when the last process had not. `held`
    arrivals were not sent since nobody knew yet what an answer costs. Locust was
    told of `counted` requests, those to warm up included.
    """

    planned: int | None
    begun: int
    shed: int
    warmed_up: int
    may_be_lost: int
    not_sent: int
    reached: str
    reached_at: float
    spent_usd: float
    notes: tuple[str, ...]
    option: str = ""
    used_up: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    held: int = 0
    counted: int = 0

    def stopped_by(self, max_requests: int | None, budget_usd: float | None) -> str:
        """
        Say in one sentence what ended the sending before its time, when, and what was not sent.

        Load processes know only their share of the limits; the sentence names the whole.
        """
        reasons = []
        if self.reached:
            limit = {
                "--max-requests": f"--max-requests {max_requests} was reached",
                "--budget-usd": f"--budget-usd {budget_usd} was reached",
            }
            reasons.append(f"{limit.get(self.option, self.reached)} {self._when(self.reached_at)}")
        for scenario, (sentence, at) in sorted(self.used_up.items()):
            reasons.append(f"{scenario}: {sentence} {self._when(at)}")
        if self.held:
            reasons.append(
                f"{self.held} arrivals came before the first answer told what one costs, and "
                f"--budget-usd {budget_usd} could not be kept otherwise"
            )
        if reasons and self.planned is not None:
            reasons.append(f"{self.not_sent} of {self.planned} planned arrivals were not sent")
        return "; ".join(reasons)

    def _when(self, at: float) -> str:
        measured = self.begun or self.planned is None
        return f"after {at:.1f} s" if measured else "before anything was measured"


class Crew:
    """The load processes of one load, from its warm-up to its end."""

    def __init__(self, slots: int) -> None:
        """Begin with nobody; `slots` is how many load processes are expected."""
        self.slots = slots
        self._here: dict[str, int] = {}
        self._parts: list[Part] = []
        self._past: list[Part] = []
        self._phase = ""
        self._due: Due | None = None
        self._planned: int | None = None

    # -- who is there ----------------------------------------------------------

    def join(self, node: str, process: int) -> None:
        """Take note of a load process that can be given a slot."""
        self._here.setdefault(node, process)

    def leave(self, node: str, at: float) -> None:
        """Take note that a load process is gone, at this offset of the phase."""
        self._here.pop(node, None)
        part = self._part_of(node)
        if part is not None and part.gone_at is None:
            part.gone_at = at

    def back(self, node: str) -> bool:
        """Believe in a load process again that was only silent; False if its slot was taken."""
        part = self._part_of(node)
        if part is None or part.gone_at is None:
            return True
        if any(p.slot == part.slot and p.gone_at is None for p in self._parts):
            return False
        self._here.setdefault(node, part.process)
        part.gone_at = None
        return True

    def __contains__(self, node: object) -> bool:
        """Whether a load process is there."""
        return node in self._here

    def __len__(self) -> int:
        """How many load processes are there."""
        return len(self._here)

    @property
    def alive(self) -> list[str]:
        """The load processes that have a slot and of which more may come."""
        return [p.node for p in self._parts if p.alive]

    # -- a phase ---------------------------------------------------------------

    def begin(self, phase: str, planned: int | None, due: Due | None) -> None:
        """Begin a phase; who had a slot in the one before gets the same again."""
        slots = {p.node: p.slot for p in self._parts if p.node in self._here}
        self._past += self._parts
        self._phase, self._planned, self._due = phase, planned, due
        self._parts = [
            Part(node, self._here[node], slot, 0.0)
            for node, slot in sorted(slots.items(), key=lambda item: item[1])
        ]

    def fill(self, at: float) -> list[Part]:
        """Give free slots to those who have none, from this offset on; gives the new parts."""
        taken = {p.slot for p in self._parts if p.gone_at is None}
        busy = {p.node for p in self._parts}
        free = [slot for slot in range(self.slots) if slot not in taken]
        spare = [node for node in self._here if node not in busy]
        fresh = [
            Part(node, self._here[node], slot, at) for node, slot in zip(spare, free, strict=False)
        ]
        self._parts += fresh
        return fresh

    def __iter__(self) -> Iterator[Part]:
        """The parts of this phase."""
        return iter(self._parts)

    def told(self, node: str, progress: Progress, rows: int, at: float) -> None:
        """Take note of what a load process says of this phase, and how many rows came with it."""
        part = self._part_of(node)
        if part is None or progress.phase != self._phase:
            return
        passed = progress.at - part.progress.at
        if passed > 0:
            part.rate = (progress.recorded - part.progress.recorded) / passed
        part.progress, part.heard_at = progress, at
        part.received += rows

    @property
    def over(self) -> bool:
        """Whether nothing more will come of this phase from those who are there."""
        return not any(p.alive for p in self._parts)

    def used(self, slot: int) -> tuple[int, float]:
        """What earlier holders of a slot used of its limits: requests, and USD."""
        latest: dict[str, Part] = {p.node: p for p in self._past if p.slot == slot}
        latest |= {p.node: p for p in self._parts if p.slot == slot and p.gone_at is not None}
        requests, usd = 0, 0.0
        for part in latest.values():
            told = part.progress
            lost = self._lost(part)[0] if part in self._parts else 0
            requests += told.sent + lost
            # What was not told of is taken to have cost what the rest did.
            usd += told.spent_usd * (1 + lost / told.sent if told.sent else 1)
        return requests, usd

    # -- what became of it -------------------------------------------------------

    def account(self) -> PhaseAccount:
        """Add up what everybody told, and say what those who died may have taken with them."""
        may_be_lost, maybe_begun, notes = 0, 0, []
        for part in self._parts:
            lost, journeys = self._lost(part)
            may_be_lost += lost
            maybe_begun += journeys
            if part.gone_at is not None and not part.progress.over:
                notes.append(
                    f"load process {part.process} was lost, last heard of {part.heard_at:.1f} s "
                    f"into the window: up to {lost} of its requests are not known of"
                )
            elif lost:
                notes.append(f"{lost} requests of load process {part.process} did not arrive here")
            if self._due and part.since > 0 and (missed := self._missed(part)):
                notes.append(
                    f"load process {part.process} took its place {part.since:.1f} s into the "
                    f"window: {missed} arrivals due before were not sent"
                )
            notes += [
                f"{count} journeys failed in the scenario's own code: {fault}"
                for fault, count in part.progress.faults.items()
            ]
            notes += [
                f"load process {part.process}: {trouble}, {count} times"
                for trouble, count in part.progress.troubles.items()
            ]
        begun = sum(p.progress.begun for p in self._parts)
        shed = sum(p.progress.shed for p in self._parts)
        not_sent = max(0, (self._planned or 0) - begun - shed - maybe_begun)
        if not_sent and may_be_lost:
            notes.append(f"{not_sent} of {self._planned} planned arrivals were not sent")
        reached = [p.progress for p in self._parts if p.progress.reached]
        # These count since the load began, so the latest word of each is what counts.
        latest = {p.node: p.progress for p in (*self._past, *self._parts)}
        return PhaseAccount(
            planned=self._planned,
            begun=begun,
            shed=shed,
            warmed_up=sum(told.warmed_up for told in latest.values()),
            may_be_lost=may_be_lost,
            not_sent=not_sent,
            reached=reached[0].reached if reached else "",
            reached_at=max((p.reached_at for p in reached), default=0.0),
            spent_usd=sum(told.spent_usd for told in latest.values()),
            notes=tuple(notes),
            option=reached[0].option if reached else "",
            used_up=self._used_up(),
            held=sum(p.progress.held for p in self._parts),
            counted=sum(told.counted for told in latest.values()),
        )

    def _used_up(self) -> dict[str, tuple[str, float]]:
        used_up: dict[str, tuple[str, float]] = {}
        for part in self._parts:
            for scenario, (sentence, at) in part.progress.used_up.items():
                _, before = used_up.get(scenario, ("", 0.0))
                used_up[scenario] = (sentence, max(at, before))
        return used_up

    def _lost(self, part: Part) -> tuple[int, int]:
        """How many requests a part may have sent unknown to us, and journeys begun so."""
        told = part.progress
        on_the_way = max(0, told.recorded - part.received)
        if part.gone_at is None or told.over:
            return on_the_way, 0
        if self._due is None:
            since = max(0.0, part.gone_at - part.heard_at)
            return on_the_way + told.in_flight + math.ceil(part.rate * since), 0
        due = self._due(part.slot, part.since, part.gone_at)
        untold = 0 if told.reached else max(0, due - told.begun - told.shed)
        ended = told.begun - told.in_flight
        each = max(1.0, (told.recorded - told.shed) / ended) if ended > 0 else 1.0
        return on_the_way + math.ceil((told.in_flight + untold) * each), untold

    def _missed(self, part: Part) -> int:
        """How many arrivals of a slot were due while it had no process, before this one came."""
        earlier = [
            p.gone_at
            for p in self._parts
            if p.slot == part.slot and p.gone_at is not None and p.gone_at <= part.since
        ]
        if self._due is None:
            return 0
        return self._due(part.slot, max(earlier, default=0.0), part.since)

    def _part_of(self, node: str) -> Part | None:
        return next((p for p in reversed(self._parts) if p.node == node), None)
