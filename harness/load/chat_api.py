"""What every chat API has in common: a question goes out, an answer comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from harness.load.sse import Event

CACHE = "/api/cache"
HEALTH = "/health"


class BadAnswerError(ValueError):
    """The server answered, but not what its API promises."""


class BrokenStreamError(ValueError):
    """A stream ended before its last event, or fell silent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the client learns from an answer; None where the app does not say.

    `first_token` is the instant of a stream's first piece, `events` how many
    pieces there were, `gaps` the seconds from each to the next.
    """

    text: str
    session_id: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    llm_calls: int | None = None
    tool_calls: int | None = None
    model: str | None = None
    first_token: float | None = None
    events: int | None = None
    gaps: tuple[float, ...] = ()


@dataclass(slots=True)
class Conversation:
    """
    One user's conversation: the session the app keeps it in, and what was said.

    `AgentUser.chat(..., conversation=c)` adds each good answer to it. Some apps
    remember by the session, others are told all `turns` (question, answer) again.
    """

    session_id: str | None = None
    turns: list[tuple[str, str]] = field(default_factory=list)


class Pieces:
    """
    The pieces of an answer that a stream brought, and when.

    `now` gives the instant at which the bytes came that are being read. A
    stream that neither adds a piece nor is heard for long has stalled.
    """

    __slots__ = ("_now", "_text", "first", "gaps", "last", "last_heard")

    def __init__(self, now: Callable[[], float]) -> None:
        """Begin without a piece."""
        self._now = now
        self._text: list[str] = []
        self.first: float | None = None
        self.last = 0.0
        self.last_heard = now()
        self.gaps: list[float] = []

    def add(self, text: str) -> None:
        """Take what came, and note when; a tool call or a thought adds no text."""
        instant = self.last_heard = self._now()
        if self.first is None:
            self.first = instant
        else:
            self.gaps.append(instant - self.last)
        self.last = instant
        self._text.append(text)

    def heard(self) -> None:
        """Note that the stream lives, although it brought no piece."""
        self.last_heard = self._now()

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self._text)

    @property
    def text(self) -> str:
        """What they say together."""
        return "".join(self._text)


@runtime_checkable
class ChatApi(Protocol):
    """How one app is asked, and how its answers are read. Send to `path`; JSON both ways."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def path(self, *, stream: bool) -> str:
        """Where questions go, below --host."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Give the headers of every request; raises HarnessError when they cannot be had."""
        ...

    def body(self, message: str, conversation: Conversation | None, *, stream: bool) -> Any:
        """Write the body of a question, as JSON knows it."""
        ...

    def read_answer(self, body: bytes) -> Answer:
        """Read a whole answer; raises BadAnswerError when it is not one."""
        ...

    def read_stream(self, events: Iterable[Event], pieces: Pieces) -> Answer:
        """
        Read a streamed answer up to its last event, handing over each piece as it comes.

        Raises BrokenStreamError when it has no last event, BadAnswerError when
        an event is not one of the API, or reports an error.
        """
        ...


def streamed(pieces: Pieces, **told: Any) -> Answer:
    """Put an answer together from its pieces, and from what the stream told besides."""
    return Answer(
        text=pieces.text,
        first_token=pieces.first,
        events=pieces.count,
        gaps=tuple(pieces.gaps),
        **told,
    )
