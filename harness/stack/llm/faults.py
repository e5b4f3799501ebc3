"""Declared faults: what goes wrong, and in which share of the calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.stack.llm.draws import CallKey

DEFAULT_SHARE = 0.3
SLOW_EXTRA_SECONDS = 6.0


class FaultKind(StrEnum):
    """Everything that can be made to go wrong. A closed set: it is logged with each call."""

    SLOW = "slow"
    ERROR_500 = "error-500"
    ERROR_429 = "error-429"
    TIMEOUT = "timeout"
    BROKEN_STREAM = "broken-stream"
    MISSING_USAGE = "missing-usage"


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault and the share of calls it strikes, above 0 and up to 1."""

    kind: FaultKind
    share: float


class FaultError(ValueError):
    """A declaration of faults that cannot be read; the message says which part and why."""


def parse_faults(declaration: str) -> tuple[Fault, ...]:
    """
    Read `name` or `name:share`, separated by commas, as in `slow:0.5,error-429`.

    Raises FaultError for an unknown name, a share that is no number above 0 and up to 1, and a
    name given twice.
    """
    faults: list[Fault] = []
    for part in filter(None, (part.strip() for part in declaration.split(","))):
        name, _, number = part.partition(":")
        try:
            kind = FaultKind(name)
        except ValueError:
            known = ", ".join(FaultKind)
            raise FaultError(f"unknown fault {name!r}; the known ones are {known}") from None
        if any(fault.kind is kind for fault in faults):
            raise FaultError(f"fault {name!r} is given twice")
        faults.append(Fault(kind, _share(part, number)))
    return tuple(faults)


def _share(part: str, number: str) -> float:
    if ":" not in part:
        return DEFAULT_SHARE
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise FaultError(f"the share in {part!r} must be a number above 0 and at most 1")
    return share


def struck(faults: tuple[Fault, ...], key: CallKey) -> FaultKind | None:
    """Say which fault strikes this call: the first declared one whose draw falls in its share."""
    for fault in faults:
        if key.random(fault.kind).random() < fault.share:
            return fault.kind
    return None
