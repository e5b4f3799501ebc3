"""What the traces show of agent and tools: summed by hand here."""

from __future__ import annotations

from typing import Any

from harness.evidence.views import ToolView, TraceView, view

Row = dict[str, Any]


def root(number: int, **changes: Any) -> Row:
    return {"traceId": str(number), "type": "AGENT", "isRootObservation": True, **changes}


def tool(name: str, **changes: Any) -> Row:
    return {"type": "TOOL", "name": name, "level": "DEFAULT", **changes}


def test_requests_sessions_and_calls() -> None:
    rows = [
        root(1, sessionId="a"), root(2, sessionId="a", level="ERROR"), root(3, sessionId="b"),
        *({"type": "GENERATION", "level": "ERROR"} for _ in range(4)),
    ]  # fmt: skip
    assert view(rows) == TraceView(requests=3, failed=1, sessions=2, llm_calls=4, tools=())


def test_traces_that_name_no_session_do_not_make_zero_sessions() -> None:
    assert view([root(1), root(2, sessionId=None)]).sessions is None


def test_each_tool_by_itself_the_one_used_most_first() -> None:
    rows = [
        tool("ls"),
        tool("grep", latency=0.25, cacheHit=False),
        tool("grep", latency=None, cacheHit=True),
        tool("grep", latency=0.5, cacheHit=None, level="ERROR"),
        tool("cat", latency=1.0, cacheHit=True),
    ]
    assert view(rows).tools == (
        ToolView("grep", calls=3, failed=1, seconds=0.75, told=2, hits=1),
        ToolView("cat", calls=1, failed=0, seconds=1.0, told=1, hits=1),
        ToolView("ls", calls=1, failed=0, seconds=0.0, told=0, hits=0),
    )
