"""What one load process is to send, and what it tells of it: the two messages of a load."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from heapq import merge
from typing import Any, Literal, TypeVar

from harness.load.arrivals import Arrivals, warming
from harness.model import HarnessError

Phase = Literal["warmup", "measure"]
Prices = tuple[tuple[str, str, Mapping[str, float]], ...]

# The one seed of a load: of its schedule, and of what else is drawn by chance.
SEED = 20_260_921
WARMUP: Phase = "warmup"
Message = TypeVar("Message")


class PlanError(HarnessError):
    """Why a load process cannot do what a plan says, and the mend, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    One load process's part in one phase of a run.

    `users` are the names of the scenario classes and, in an open loop, for how
    many seconds each lets arrivals come; all their schedules together hold
    `arrivals` arrivals, of which this process sends number `slot`, `slot +
    slots`, and so on. The phase begins `begins_in` seconds from now (negative:
    it began already, and what was due before is not sent), which is the instant
    `begins_at` for a process of the same machine, who has the same clock; so one
    that is slow to listen is late and does not shift its slot. `process` is the
    number by which this load process is known in the evidence, `clock` what the
    owner's clock showed when it wrote this. `ceiling`, `max_requests` and
    `budget_usd` are this slot's share; None is no limit. `answers` are those
    that the same questions must get again. `prices` are the models of the price
    book (name, pattern, USD per token by usage key), where there is a budget.
    """

    version: str
    run_id: str
    target: str
    open_loop: bool
    phase: Phase
    users: Mapping[str, float]
    clock: float
    arrivals: int = 0
    begins_in: float = 0.0
    begins_at: float | None = None
    process: int = 0
    slot: int = 0
    slots: int = 1
    ceiling: int = 1
    answers: Mapping[str, str] = field(default_factory=dict)
    max_requests: int | None = None
    budget_usd: float | None = None
    prices: Prices = ()

    @property
    def seconds(self) -> float:
        """How long arrivals come in this phase."""
        return max(self.users.values(), default=0.0)

    def values(self) -> dict[str, Any]:
        """Give plain values, as a message between processes carries them."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any], version: str) -> Plan:
        """Read what `values` gave; raises PlanError when the sender is of another version."""
        if values.get("version") != version:
            raise PlanError(
                f"the master runs harness {values.get('version', 'of an unknown version')} and "
                f"this load process {version}; install the same version on both machines"
            )
        return replace(_read(cls, values), prices=tuple(tuple(p) for p in values["prices"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """
    What one load process tells of its part in a phase, counted from the phase's beginning.

    `at` is how long ago that was. Of the journeys that were due, `begun` began
    and `shed` were turned away by the ceiling; `in_flight` are under way.
    `recorded` requests were kept as rows. Since the load began, and not only
    the phase, `warmed_up` requests only warmed up, and `sent`, at a cost of
    `spent_usd`, were allowed in all. `over` says that nothing more will come;
    `reached` names the limit that ended the sending, `reached_at` seconds into
    the phase, and `option` which of the user's options it is. `used_up` are the
    scenarios that have nothing left to ask: a sentence, and how many seconds into
    the phase. `held` arrivals were not sent since nobody knew yet what an answer costs.
    `counted` requests were told to Locust since the load began. `faults`
    are what went wrong in the scenario's own code, and how often; `troubles` what
    did in the load process itself.
    """

    phase: str = ""
    at: float = 0.0
    begun: int = 0
    shed: int = 0
    in_flight: int = 0
    recorded: int = 0
    warmed_up: int = 0
    sent: int = 0
    spent_usd: float = 0.0
    over: bool = False
    reached: str = ""
    reached_at: float = 0.0
    option: str = ""
    used_up: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    held: int = 0
    counted: int = 0
    faults: Mapping[str, int] = field(default_factory=dict)
    troubles: Mapping[str, int] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """Give plain values, as a message between processes carries them."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Progress:
        """Read what `values` gave."""
        return _read(cls, values)


@dataclass(frozen=True, slots=True)
class Schedule:
    """All arrivals of one phase, each with the name of its scenario class, in order of time."""

    phase: Phase
    arrivals: Mapping[str, Arrivals]
    lengths: Mapping[str, float]

    def __iter__(self) -> Iterator[tuple[float, str]]:
        """Offsets from the beginning of the phase, in seconds: the same in every process."""
        return merge(*(self._of(name) for name in sorted(self.lengths)))

    def _of(self, name: str) -> Iterator[tuple[float, str]]:
        # Scenarios that run together must not all arrive at the same instants.
        seed = SEED + zlib.crc32(name.encode())
        if self.phase == WARMUP:
            offsets = warming(self.arrivals[name], seed + 1)
        else:
            offsets = self.arrivals[name].instants(self.lengths[name], seed)
        return ((offset, name) for offset in offsets)

    def __len__(self) -> int:
        """How many arrivals there are."""
        return sum(1 for _ in self)

    def due(self, slot: int, slots: int, begin: float, end: float) -> int:
        """Count those of one slot that are due from one offset on, and before another."""
        return sum(
            1
            for number, (offset, _) in enumerate(self)
            if number % slots == slot and begin <= offset < end
        )


def share(whole: int, index: int, count: int) -> int:
    """Give one of `count` their part of a whole number, so that all parts add up to it."""
    return len(range(index, whole, count))


def _read(cls: type[Message], values: Mapping[str, Any]) -> Message:
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: value for name, value in values.items() if name in known})
