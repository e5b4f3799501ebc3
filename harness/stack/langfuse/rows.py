"""An observation as the v2 API answers it: field names, field groups, and what is left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from harness.stack.langfuse.otlp import Observation
from harness.stack.langfuse.pricing import Charge, sum_of_kind

PROJECT_ID = "stand-in"

GROUPS: Mapping[str, tuple[str, ...]] = {
    "core": (
        "id",
        "traceId",
        "startTime",
        "endTime",
        "projectId",
        "parentObservationId",
        "type",
    ),
    "basic": (
        "name",
        "level",
        "statusMessage",
        "version",
        "environment",
        "bookmarked",
        "public",
        "userId",
        "sessionId",
        "isRootObservation",
    ),
    "time": ("completionStartTime", "createdAt", "updatedAt"),
    "io": ("input", "output"),
    "metadata": ("metadata",),
    "model": ("model", "internalModelId", "modelParameters"),
    "usage": (
        "usageDetails",
        "inputUsage",
        "outputUsage",
        "totalUsage",
        "costDetails",
        "inputCost",
        "outputCost",
        "totalCost",
        "usagePricingTierId",
        "usagePricingTierName",
    ),
    "prompt": ("promptId", "promptName", "promptVersion"),
    "metrics": ("latency", "timeToFirstToken"),
    "trace_context": ("tags", "release", "traceName"),
}
"""The names of the fields that each field group adds to a row."""

DEFAULT_GROUPS = ("core", "basic")

_PRICES = ("modelId", "inputPrice", "outputPrice", "totalPrice")
"""Filled by the group "model", but present and null without it."""

_METADATA_CHARACTERS = 200
"""Longer metadata values are cut, unless their key is asked for in full."""

_PLAIN_EXPONENT = -6
"""The smallest power of ten that the server writes without an exponent."""


@dataclass(frozen=True, slots=True)
class Row:
    """One arrival: every field of the API by name, and the instants in milliseconds."""

    start_ms: int
    end_ms: int | None
    fields: Mapping[str, object]


def row_of(observation: Observation, charge: Charge, arrived_at: str) -> Row:
    """Make the row that an observation becomes on arrival, with what it was charged."""
    seen = observation
    model, tier = charge.model, charge.tier
    prices = model.default_tier.prices if model else {}
    fields = {
        "id": seen.id,
        "traceId": seen.trace_id,
        "startTime": instant(seen.start_ms),
        "endTime": None if seen.end_ms is None else instant(seen.end_ms),
        "projectId": PROJECT_ID,
        "parentObservationId": seen.parent_id,
        "type": seen.type,
        "name": seen.name,
        "level": seen.level,
        "statusMessage": seen.status_message,
        "version": seen.version,
        "environment": seen.environment,
        "bookmarked": False,
        "public": False,
        "userId": seen.user_id,
        "sessionId": seen.session_id,
        "isRootObservation": seen.is_root,
        "completionStartTime": (
            None if seen.completion_start_ms is None else instant(seen.completion_start_ms)
        ),
        "createdAt": arrived_at,
        "updatedAt": arrived_at,
        "input": seen.input,
        "output": seen.output,
        "metadata": seen.metadata,
        "model": seen.model,
        "internalModelId": model.id if model else "",
        "modelParameters": seen.model_parameters,
        "usageDetails": charge.usage,
        "inputUsage": sum_of_kind(charge.usage, "input"),
        "outputUsage": sum_of_kind(charge.usage, "output"),
        "totalUsage": charge.usage.get("total", 0),
        "costDetails": charge.cost,
        "inputCost": _cost_of_kind(charge.cost, "input"),
        "outputCost": _cost_of_kind(charge.cost, "output"),
        "totalCost": charge.total_cost or 0,
        "promptId": "",
        "promptName": seen.prompt_name,
        "promptVersion": seen.prompt_version,
        "usagePricingTierId": tier.id if tier else None,
        "usagePricingTierName": tier.name if tier else None,
        "latency": _seconds_between(seen.start_ms, seen.end_ms),
        "timeToFirstToken": _seconds_between(seen.start_ms, seen.completion_start_ms),
        "traceName": seen.trace_name,
        "release": seen.release,
        "tags": list(seen.tags),
        "modelId": model.id if model else None,
        "inputPrice": _price(prices.get("input")),
        "outputPrice": _price(prices.get("output")),
        "totalPrice": _price(prices.get("total")),
    }
    return Row(seen.start_ms, seen.end_ms, fields)


def selected(
    fields: Mapping[str, object], groups: Iterable[str], expanded: frozenset[str] = frozenset()
) -> dict[str, object]:
    """Take the part of a row that these groups ask for; unknown groups ask for nothing."""
    wanted = {"core", *groups} & GROUPS.keys()
    chosen: dict[str, object] = {
        name: fields[name] for group in GROUPS if group in wanted for name in GROUPS[group]
    }
    chosen |= {name: fields[name] if "model" in wanted else None for name in _PRICES}
    metadata = chosen.get("metadata")
    if isinstance(metadata, Mapping):
        chosen["metadata"] = {
            key: value if key in expanded else _cut(value) for key, value in metadata.items()
        }
    return chosen


def instant(milliseconds: int) -> str:
    """Write milliseconds since the epoch as the API writes an instant."""
    whole = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def _cost_of_kind(cost: Mapping[str, float], kind: str) -> float | None:
    return sum_of_kind(cost, kind) if any(kind in key for key in cost) else None


def _seconds_between(start_ms: int, end_ms: int | None) -> float | None:
    """Give seconds, or None when unknown; the server answers None for 0 ms too."""
    return None if end_ms is None or end_ms == start_ms else (end_ms - start_ms) / 1000


def _price(price: float | None) -> str | None:
    """Write a price as decimal text: 0.000001, but 1.5e-7."""
    if price is None:
        return None
    exact = Decimal(repr(price)).normalize()
    exponent = exact.adjusted()
    if exponent >= _PLAIN_EXPONENT:
        return f"{exact:f}"
    return f"{exact.scaleb(-exponent):f}e{exponent}"


def _cut(value: object) -> object:
    return value[:_METADATA_CHARACTERS] if isinstance(value, str) else value
