"""
Spans: what the app tells of one piece of work, and the places that hear it.

A `Span` is what the app holds. It redacts what it is told, once, and passes it on to each of its
sinks: a Langfuse observation, an OpenTelemetry span, a log line. Nothing told here can fail what
is being told about, and without sinks nothing is done at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypedDict, Unpack

from target_app.agent.messages import Usage
from target_app.observability.trace_ids import one_span_id

logger = logging.getLogger(__name__)

Kind = Literal["server", "agent", "span", "generation", "tool"]
"""What a span is about: an HTTP request, a chat, a step of it, an LLM call, a tool call."""


class Details(TypedDict, total=False):
    """What can be told of a span; what is not known is left out, or None."""

    input: Any
    output: Any
    model: str
    model_parameters: Mapping[str, str | int | float | bool]
    usage: Usage | None
    usage_estimated: bool
    metadata: Mapping[str, Any]


class SinkSpan(Protocol):
    """One span in one place. It is told only what was redacted."""

    @property
    def trace_id(self) -> str:
        """The trace, 32 hexadecimal digits."""
        ...

    @property
    def span_id(self) -> str:
        """The span, 16 hexadecimal digits."""
        ...

    def child(self, kind: Kind, name: str, details: Details) -> SinkSpan:
        """Begin a span beneath this one, now."""
        ...

    def update(self, details: Details) -> None:
        """Add what became known."""
        ...

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""
        ...

    def first_token(self) -> None:
        """Note that the first piece of a streamed answer came just now."""
        ...

    def end(self) -> None:
        """End the span now. Nothing is told of it afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """
    Where the first span of the app in a trace belongs.

    `parent_span_id` is a span of the caller's or of the request; None begins the trace.
    Session and tags are redacted; `route` is a route template.
    """

    trace_id: str
    parent_span_id: str | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    route: str = ""


class Sink(Protocol):
    """A place that spans go to."""

    @property
    def wants_server_spans(self) -> bool:
        """Whether it is told of every HTTP request, not only of chats."""
        ...

    def root(self, kind: Kind, name: str, details: Details, origin: Origin) -> SinkSpan:
        """Begin the first span of the app in a trace."""
        ...

    @property
    def is_reachable(self) -> bool:
        """Whether what is told now can be looked up later, as far as is known."""
        ...

    def close(self, timeout_seconds: float) -> None:
        """Send what is still there, blocking no longer than `timeout_seconds`."""
        ...


class Redaction(Protocol):
    """Takes out of texts and values what must not leave the process. Never raises."""

    def text(self, text: str) -> str:
        """Answer the text without it, cut to a bounded length."""
        ...

    def value(self, value: Any) -> Any:
        """Answer the value without it: strings in it, and keys, are redacted."""
        ...


@dataclass(slots=True)
class Telling:
    """
    How all spans of an app tell: what redacts, and what counts the seconds it took.

    The first failure of a sink is logged, so that one that always fails floods no log.
    """

    redaction: Redaction
    count_seconds: Callable[[float], None]
    failed: bool = False

    def note_failure(self, error: Exception) -> None:
        """Say once that a sink fails."""
        if not self.failed:
            self.failed = True
            logger.warning("a span could not be told, and is missing: %r", error)

    def redacted(self, details: Details) -> Details:
        """Answer the details as they may leave the process."""
        shown: Details = {}
        if details.get("input") is not None:
            shown["input"] = self.redaction.value(details["input"])
        if details.get("output") is not None:
            shown["output"] = self.redaction.value(details["output"])
        if details.get("model") is not None:
            shown["model"] = self.redaction.text(details["model"])
        if details.get("model_parameters"):
            shown["model_parameters"] = self.redaction.value(details["model_parameters"])
        if details.get("metadata"):
            shown["metadata"] = self.redaction.value(details["metadata"])
        if details.get("usage") is not None:
            shown["usage"] = details["usage"]
        if details.get("usage_estimated"):
            shown["usage_estimated"] = True
        return shown


class Told:
    """Times a block that tells sinks something, and keeps what they raise away from the app."""

    __slots__ = ("_started", "_telling")

    def __init__(self, telling: Telling) -> None:
        """Count into `telling`."""
        self._telling = telling

    def __enter__(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Stop the clock; an error of a sink ends here."""
        self._telling.count_seconds(time.perf_counter() - self._started)
        if isinstance(error, Exception):
            self._telling.note_failure(error)
            return True
        return False


class Span:
    """One piece of work, told to every sink; to none when tracing is off. Ends with its block."""

    __slots__ = ("_telling", "sinks")

    def __init__(self, sinks: Sequence[SinkSpan] = (), telling: Telling | None = None) -> None:
        """Tell `sinks`; without any, nothing is ever done."""
        self.sinks = () if telling is None else tuple(sinks)
        self._telling = telling

    @property
    def is_recording(self) -> bool:
        """Whether what is told here goes anywhere."""
        return bool(self.sinks)

    @property
    def trace_id(self) -> str:
        """The trace, 32 hexadecimal digits; empty when nothing is recorded."""
        return self.sinks[0].trace_id if self.sinks else ""

    @property
    def span_id(self) -> str:
        """The span, 16 hexadecimal digits, in every sink; empty when nothing is recorded."""
        return self.sinks[0].span_id if self.sinks else ""

    def child(
        self,
        kind: Kind,
        name: str,
        lazily: Callable[[], Details] | None = None,
        **details: Unpack[Details],
    ) -> Span:
        """
        Begin a span beneath this one.

        `lazily` makes more details, and is only called when they are recorded.
        """
        telling = self._telling
        if telling is None or not self.sinks:
            return self
        begun: list[SinkSpan] = []
        with Told(telling), one_span_id():
            if lazily is not None:
                details = {**details, **lazily()}
            shown = telling.redacted(details)
            called = telling.redaction.text(name)
            for sink in self.sinks:
                begun.append(sink.child(kind, called, shown))  # noqa: PERF401 - one may raise
        return Span(begun, telling)

    def update(
        self, lazily: Callable[[], Details] | None = None, **details: Unpack[Details]
    ) -> None:
        """Add what became known; None stands for what did not."""
        telling = self._telling
        if telling is None or not self.sinks:
            return
        with Told(telling):
            if lazily is not None:
                details = {**details, **lazily()}
            shown = telling.redacted(details)
            for sink in self.sinks:
                sink.update(shown)

    def fail(self, reason: str) -> None:
        """Mark the span as failed."""
        if self._telling is None or not self.sinks:
            return
        with Told(self._telling):
            shown = self._telling.redaction.text(reason)
            for sink in self.sinks:
                sink.fail(shown)

    def first_token(self) -> None:
        """Note that the first piece of a streamed answer came just now."""
        if self._telling is None or not self.sinks:
            return
        with Told(self._telling):
            for sink in self.sinks:
                sink.first_token()

    def end(self) -> None:
        """End the span now."""
        if self._telling is None or not self.sinks:
            return
        with Told(self._telling):
            for sink in self.sinks:
                sink.end()

    def headers(self) -> Mapping[str, str]:
        """Headers that carry this span to the next service on the way."""
        if not self.sinks:
            return {}
        return {"traceparent": f"00-{self.trace_id}-{self.span_id}-01"}

    def __enter__(self) -> Self:
        """Hand out the span."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the span, whatever happened."""
        self.end()
