"""
Structured logs of what came in and went out: one line for each span, when it ends.

Requests, chats, LLM calls and tool calls have a line. The steps between them have none: what is
beneath a step names the step, and as its parent the next span above that has a line.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import structlog

from target_app.observability.logs import REDACTED
from target_app.observability.request_trace import current
from target_app.observability.spans import Details, Kind, Origin
from target_app.observability.trace_ids import new_span_id

LOGGER = "target_app.io"

EVENTS: Mapping[Kind, str] = {
    "server": "request",
    "agent": "chat",
    "generation": "llm_call",
    "tool": "tool",
}
"""The event that a line is, by the kind of its span."""


class LogSpan:
    """One span, of which a line is written when it ends, or none for a step."""

    def __init__(
        self,
        kind: Kind,
        name: str,
        details: Details,
        origin: Origin,
        parent_span_id: str | None,
        step: str = "",
    ) -> None:
        """Begin now. `step` names the step of the chat that the span is in."""
        self._kind = kind
        self._name = name
        self._details: Details = {**details}
        self._origin = origin
        self._parent_span_id = parent_span_id
        self._step = step
        self._failure = ""
        self._started = time.perf_counter()
        self._first_token: float | None = None
        self._has_line = kind in EVENTS
        self._span_id = new_span_id()

    @property
    def trace_id(self) -> str:
        """The trace, 32 hexadecimal digits."""
        return self._origin.trace_id

    @property
    def span_id(self) -> str:
        """The span, or the next above that has a line: 16 hexadecimal digits."""
        if self._has_line or self._parent_span_id is None:
            return self._span_id
        return self._parent_span_id

    def child(self, kind: Kind, name: str, details: Details) -> LogSpan:
        """Begin a span beneath this one."""
        step = self._step or ("" if self._has_line else self._name)
        return LogSpan(kind, name, details, self._origin, self.span_id, step)

    def update(self, details: Details) -> None:
        """Add what became known; metadata is added to what there is."""
        metadata = {**self._details.get("metadata", {}), **details.get("metadata", {})}
        self._details.update(details)
        if metadata:
            self._details["metadata"] = metadata

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""
        self._failure = reason or "failed"

    def first_token(self) -> None:
        """Note that the first piece of a streamed answer came just now."""
        self._first_token = time.perf_counter() - self._started

    def end(self) -> None:
        """Write the line."""
        if not self._has_line:
            return
        duration = time.perf_counter() - self._started
        fields: dict[str, Any] = {
            "trace_id": self._origin.trace_id,
            "session_id": self._origin.session_id,
            "route": self._route(),
            "span_id": self._span_id,
            "parent_span_id": self._parent_span_id,
            "tags": list(self._origin.tags) or None,
            "step": self._step or None,
            # Before the rest: who knows better how long it took says so.
            "duration_seconds": round(duration, 6),
            **_LINES[self._kind](self._name, self._details),
            "error": self._failure or None,
        }
        if self._first_token is not None:
            fields["time_to_first_token"] = round(self._first_token, 6)
        known = {name: value for name, value in fields.items() if value is not None}
        log = structlog.get_logger().bind(logger=LOGGER, **{REDACTED: True})
        tell = log.error if self._failure else log.info
        tell(EVENTS[self._kind], **known)

    def _route(self) -> str:
        """Answer the route: of a request whose span is its first, it is found out later."""
        trace = current()
        return self._origin.route if trace is None else trace.route


class LogSink:
    """The log as a place that spans go to."""

    wants_server_spans = True
    """A line for every request, not only for chats."""

    is_reachable = True

    def root(self, kind: Kind, name: str, details: Details, origin: Origin) -> LogSpan:
        """Begin the first span of a trace."""
        return LogSpan(kind, name, details, origin, origin.parent_span_id)

    def close(self, timeout_seconds: float) -> None:
        """Leave the last lines to `logs_kept`, which waits for those of all loggers."""


# -- what the line of each kind says; everything was redacted before it came here


def _request(name: str, details: Details) -> dict[str, Any]:
    return {"method": name, **details.get("metadata", {})}


def _chat(_: str, details: Details) -> dict[str, Any]:
    said = _parts(details.get("output"), "output")
    if "answer" in said:
        said["output"] = said.pop("answer")
    return {"input": details.get("input"), **details.get("metadata", {}), **said}


def _llm_call(_: str, details: Details) -> dict[str, Any]:
    messages = details.get("input")
    usage = details.get("usage")
    return {
        "model": details.get("model"),
        "model_parameters": details.get("model_parameters"),
        # The whole conversation again would make the log grow with its square.
        "messages": len(messages) if isinstance(messages, list) else None,
        **details.get("metadata", {}),
        **_parts(details.get("output"), "content"),
        "usage": None if usage is None else {**asdict(usage), "total": usage.total},
        "usage_estimated": details.get("usage_estimated") or None,
    }


def _tool(name: str, details: Details) -> dict[str, Any]:
    return {
        "name": name,
        "arguments": details.get("input"),
        **details.get("metadata", {}),
        **_parts(details.get("output"), "output"),
    }


_LINES = {"server": _request, "agent": _chat, "generation": _llm_call, "tool": _tool}


def _parts(output: object, name: str) -> dict[str, Any]:
    """Take an output apart that has parts; another is all under one name."""
    return dict(output) if isinstance(output, Mapping) else {name: output}
