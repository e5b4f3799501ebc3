"""
From a usage report to dollars, by the rules of a Langfuse 4 server.

Two of those rules lose money silently, and are kept on purpose: a usage key without a price costs
nothing, and an OpenAI usage object with one unknown key is not recognised as such, so none of its
keys has a price. Costs are USD; prices are USD per unit, usually a token.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

COST_DECIMALS = 12
"""Decimal places in which the server stores a cost."""


class Comparison(StrEnum):
    """How a tier's condition compares the usage with its value."""

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EQ = "eq"
    NEQ = "neq"


_COMPARE: Mapping[Comparison, Callable[[float, float], bool]] = {
    Comparison.GT: operator.gt,
    Comparison.GTE: operator.ge,
    Comparison.LT: operator.lt,
    Comparison.LTE: operator.le,
    Comparison.EQ: operator.eq,
    Comparison.NEQ: operator.ne,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """Holds when the usage under all keys that match ``pattern``, summed, compares as asked."""

    pattern: re.Pattern[str]
    comparison: Comparison
    value: float

    def holds(self, usage: Mapping[str, int]) -> bool:
        """Say whether this usage fulfils the condition."""
        matching = sum(units for key, units in usage.items() if self.pattern.search(key))
        return _COMPARE[self.comparison](matching, self.value)


@dataclass(frozen=True, slots=True)
class Tier:
    """A set of prices, and the conditions (all of them) under which it applies."""

    id: str
    name: str
    prices: Mapping[str, float]
    is_default: bool = True
    priority: int = 0
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A priced model: the names it goes by, and its tiers, exactly one of them the default."""

    id: str
    name: str
    pattern: re.Pattern[str]
    tiers: tuple[Tier, ...]

    @property
    def default_tier(self) -> Tier:
        """The tier that applies when no condition says otherwise."""
        return next(tier for tier in self.tiers if tier.is_default)

    def tier_for(self, usage: Mapping[str, int]) -> Tier:
        """Choose the conditional tier of lowest priority number that applies, else the default."""
        conditional = sorted(
            (tier for tier in self.tiers if not tier.is_default), key=lambda tier: tier.priority
        )
        for tier in conditional:
            if all(condition.holds(usage) for condition in tier.conditions):
                return tier
        return self.default_tier


@dataclass(frozen=True, slots=True)
class Charge:
    """What one observation used and cost; ``total_cost`` is None when no total is known."""

    usage: Mapping[str, int] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    total_cost: float | None = None
    model: Model | None = None
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class _OpenAIShape:
    """The names that one of OpenAI's two APIs gives to the parts of its usage object."""

    input: str
    output: str

    @property
    def details(self) -> Mapping[str, str]:
        """Usage key of ours to the key under which OpenAI breaks that usage down."""
        return {"input": f"{self.input}_details", "output": f"{self.output}_details"}

    def matches(self, usage: Mapping[str, object]) -> bool:
        """Say whether this is such an object: parts well-formed, none missing, nothing else."""
        counts = {self.input, self.output, "total_tokens"}
        details = set(self.details.values())
        return (
            counts <= usage.keys() <= counts | details
            and all(_units(usage[key]) is not None for key in counts)
            and all(_breakdown(usage.get(key)) is not None for key in details)
        )

    def flatten(self, usage: Mapping[str, object]) -> dict[str, int]:
        """Lay the object out as flat keys: details taken out of the count that includes them."""
        flat: dict[str, int] = {}
        for key, sent in (("input", self.input), ("output", self.output)):
            parts = _breakdown(usage.get(self.details[key])) or {}
            flat[key] = max((_units(usage[sent]) or 0) - sum(parts.values()), 0)
            flat |= {f"{key}_{part}": units for part, units in parts.items()}
        return flat | {"total": _units(usage["total_tokens"]) or 0}


_OPENAI_SHAPES = (
    _OpenAIShape("prompt_tokens", "completion_tokens"),
    _OpenAIShape("input_tokens", "output_tokens"),
)


def normalise_usage(usage: Mapping[str, object]) -> dict[str, int]:
    """
    Turn a usage report into flat, whole, non-negative counts, with a total.

    OpenAI's usage objects are recognised only when they are exactly that. Anything else is taken
    key by key: what is no whole number of at least 0 is dropped, and a missing total is the sum.
    """
    for shape in _OPENAI_SHAPES:
        if shape.matches(usage):
            return shape.flatten(usage)
    whole = {key: units for key, sent in usage.items() if (units := _units(sent)) is not None}
    if whole and "total" not in whole:
        whole["total"] = sum(whole.values())
    return whole


def charge(
    model: Model | None, usage: Mapping[str, object], given_cost: Mapping[str, float]
) -> Charge:
    """
    Price one observation: what the application says it cost, or else usage times price.

    A total that the application leaves out is derived only when it names nothing but input and
    output; otherwise the total stays unknown, whatever the parts say.
    """
    counts = normalise_usage(usage)
    tier = model.tier_for(counts) if model else None
    if given_cost:
        cost = dict(given_cost)
        if "total" not in cost and cost.keys() <= {"input", "output"}:
            cost["total"] = sum(cost.values())
    elif tier:
        cost = {
            key: units * tier.prices[key] for key, units in counts.items() if key in tier.prices
        }
        if cost and "total" not in cost:
            cost["total"] = sum(cost.values())
    else:
        cost = {}
    cost = {key: round(dollars, COST_DECIMALS) for key, dollars in cost.items()}
    return Charge(counts, cost, cost.get("total"), model, tier)


def sum_of_kind(amounts: Mapping[str, float], kind: str) -> float:
    """Sum over the keys that contain ``kind``: "input" counts cached input too. 0 if none does."""
    return sum(amount for key, amount in amounts.items() if kind in key)


def _units(sent: object) -> int | None:
    """Read a whole number of at least 0, else None; JSON does not tell 5 from 5.0."""
    if isinstance(sent, bool) or not isinstance(sent, int | float):
        return None
    if isinstance(sent, float) and not sent.is_integer():
        return None
    return int(sent) if sent >= 0 else None


def _breakdown(sent: object) -> dict[str, int] | None:
    """Read the parts of a count, absent ones left out; None when this is no breakdown."""
    if sent is None:
        return {}
    if not isinstance(sent, Mapping):
        return None
    parts = {}
    for key, sent_units in sent.items():
        units = _units(sent_units)
        if units is None and sent_units is not None:
            return None
        if units is not None:
            parts[key] = units
    return parts
