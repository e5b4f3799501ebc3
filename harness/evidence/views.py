"""What the traces of one window show of the agent, its sessions and its tools, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolView:
    """
    How one tool was used; `seconds` is the sum over its calls.

    `told` are the calls whose observation says whether the answer came from a
    cache, and `hits` those of them that did.
    """

    name: str
    calls: int
    failed: int
    seconds: float
    told: int
    hits: int


@dataclass(frozen=True, slots=True)
class TraceView:
    """What the traces of one window hold; `sessions` is None where no trace names its session."""

    requests: int
    failed: int
    sessions: int | None
    llm_calls: int
    tools: tuple[ToolView, ...]


def view(rows: Sequence[Row]) -> TraceView:
    """Sum up observations, each of which must be given once; the tool used most comes first."""
    roots = [r for r in rows if r.get("isRootObservation")]
    sessions = {r["sessionId"] for r in roots if r.get("sessionId")}
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("type") == "TOOL":
            by_name.setdefault(str(row.get("name")), []).append(row)
    tools = [_tool(name, calls) for name, calls in by_name.items()]
    return TraceView(
        requests=len(roots),
        failed=_failed(roots),
        sessions=len(sessions) or None,
        llm_calls=sum(r.get("type") == "GENERATION" for r in rows),
        tools=tuple(sorted(tools, key=lambda t: (-t.calls, t.name))),
    )


def _tool(name: str, calls: Sequence[Row]) -> ToolView:
    told = [r for r in calls if r.get("cacheHit") is not None]
    return ToolView(
        name=name,
        calls=len(calls),
        failed=_failed(calls),
        # No latency means below a millisecond.
        seconds=sum(float(r.get("latency") or 0) for r in calls),
        told=len(told),
        hits=sum(bool(r["cacheHit"]) for r in told),
    )


def _failed(rows: Sequence[Row]) -> int:
    return sum(r.get("level") == "ERROR" for r in rows)
