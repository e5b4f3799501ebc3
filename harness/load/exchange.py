"""One request and what became of it: its outcome, in one word and in plain words."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from harness.credentials import without_secrets
from harness.load import clock, sse
from harness.load.chat_api import (
    Answer,
    BadAnswerError,
    BrokenStreamError,
    ChatApi,
    Pieces,
)
from harness.load.fields import checked
from harness.load.questions import Question
from harness.load.wire import (
    Connections,
    HTTPParseError,
    NotSentError,
    Response,
    TooLargeError,
)
from harness.model import Outcome

_DETAIL_LENGTH = 300
_REFUSAL_BYTES = 64 * 1024
_LINGER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer to a plain request; the names of its headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """Read the body as JSON; raises ValueError when it is not."""
        return json.loads(self.body)


class Exchange:
    """
    One request and its answer. Until it has ended, it counts as cut off by the end of the load.

    `end` is the instant of the answer's last byte, or of giving up; `size` are
    the bytes of the answer's body.
    """

    __slots__ = ("answer", "detail", "end", "outcome", "pieces", "size", "status")

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.outcome = Outcome.CUT_OFF
        self.detail = "the load ended"
        self.status: int | None = None
        self.end: float | None = None
        self.size = 0
        self.answer: Answer | None = None
        self.pieces: Pieces | None = None

    def run(
        self,
        connections: Connections,
        message: bytes,
        method: str,
        *,
        start: float,
        patience: float,
        largest: int,
    ) -> None:
        """Send it and read the answer, for so many seconds and bytes at most; raises nothing."""
        response: Response | None = None
        until = start + patience
        try:
            response = connections.send(message, method, until, largest)
            self.status = response.read_head(until)
            self.outcome, self.detail = self._read(response, until)
            self.end = response.arrived
        except NotSentError as error:
            self._failed(Outcome.REFUSED, str(error))
        except TimeoutError as error:
            self._failed(Outcome.TIMEOUT, str(error) or f"no whole answer within {patience:g} s")
        except (BadAnswerError, TooLargeError) as error:
            self._failed(Outcome.BAD_ANSWER, str(error))
        except BrokenStreamError as error:
            self._failed(Outcome.BROKEN_STREAM, str(error))
        except (OSError, HTTPParseError) as error:
            self._failed(Outcome.BROKEN_STREAM, _broken(error, self.status))
        except Exception as error:  # noqa: BLE001 - an adapter's slip is an answer nobody can read
            self._failed(Outcome.BAD_ANSWER, f"{self._reader}{type(error).__name__}: {error}")
        finally:
            if response is not None:
                connections.done(response)

    @property
    def _reader(self) -> str:
        """Who read the answer, when it raised what no reader should."""
        return ""

    def _failed(self, outcome: Outcome, detail: str) -> None:
        self.end = clock.now()
        self.outcome, self.detail = outcome, _told(detail)

    def _read(self, response: Response, until: float) -> tuple[Outcome, str]:
        """Read the answer whose headers have come, and judge it."""
        raise NotImplementedError

    def _status_error(self, response: Response, until: float) -> tuple[Outcome, str]:
        """Name the outcome of a status that was not wanted; a short body is read and forgotten."""
        status = self.status or 0
        if status < 400:
            place = response.get("location")
            to = f": it points to {place}; redirects are not followed" if place else ""
            return Outcome.BAD_ANSWER, _told(f"HTTP {status}{to}")
        try:
            left = _REFUSAL_BYTES
            while left > 0 and (part := response.read(until)):
                left -= len(part)
                self.size += len(part)
        except (OSError, HTTPParseError, TooLargeError):
            pass  # the status says enough
        return Outcome.HTTP_ERROR, f"HTTP {status}"


class Plain(Exchange):
    """A request of which only the status is judged."""

    __slots__ = ("_expect", "reply")

    def __init__(self, expect: Collection[int]) -> None:
        """Take the statuses that are wanted."""
        super().__init__()
        self._expect = expect
        self.reply: Reply | None = None

    def _read(self, response: Response, until: float) -> tuple[Outcome, str]:
        status = response.get_code()
        if status not in self._expect:
            return self._status_error(response, until)
        body = response.read_all(until)
        self.size = len(body)
        headers = {name.lower(): value for name, value in response.items()}
        self.reply = Reply(status, body, headers)
        return Outcome.OK, ""


class Chat(Exchange):
    """A question to an agent app: the answer is read, and checked."""

    __slots__ = ("_api", "_asked", "_session", "_stall")

    def __init__(self, api: ChatApi, asked: Question, session: Any, stall: float | None) -> None:
        """Take what is asked, who knows earlier answers, and how long a stream may be silent."""
        super().__init__()
        self._api = api
        self._asked = asked
        self._session = session
        self._stall = stall

    def _read(self, response: Response, until: float) -> tuple[Outcome, str]:
        if not 200 <= response.get_code() < 300:
            return self._status_error(response, until)
        if (packed := response.get("content-encoding")) not in (None, "identity"):
            raise BadAnswerError(f"the answer is packed ({packed}), which was not asked for")
        if self._stall is None:
            body = response.read_all(until)
            self.size = len(body)
            answer = self._api.read_answer(body)
        else:
            answer = self._stream(response, until, self._stall)
        self.answer = checked(answer, self._api)
        return self._judged(answer)

    @property
    def _reader(self) -> str:
        return f"{type(self._api).__name__} could not read the answer: "

    def _stream(self, response: Response, until: float, stall: float) -> Answer:
        """Read a stream to its last event, and what little may come after it."""
        pieces = self.pieces = Pieces(lambda: response.arrived)

        def read() -> bytes:
            silent = pieces.last_heard + stall
            try:
                part = response.read(min(until, silent))
            except TimeoutError:
                if silent < until:
                    raise BrokenStreamError(f"stalled: no event for {stall:g} s") from None
                raise
            self.size += len(part)
            return part

        try:
            answer = self._api.read_stream(sse.events(read), pieces)
        except BrokenStreamError as error:
            kind = response.get("content-type")
            if isinstance(kind, str) and "event-stream" not in kind:
                raise BrokenStreamError(f"{error}; its content type is {kind}") from error
            raise
        last = response.arrived
        try:
            response.read_all(min(until, last + _LINGER_SECONDS))
        except (OSError, HTTPParseError, TooLargeError):
            response.arrived = last  # the answer was whole; what the server does next is its own
        return answer

    def _judged(self, answer: Answer) -> tuple[Outcome, str]:
        wanted = self._asked.answer
        if wanted is not None and wanted not in answer.text:
            return Outcome.BAD_ANSWER, _told(f"the answer lacks {wanted!r}")
        # Looked up only now: the answers come with the plan, for which the first request waits.
        before = self._session.answers.get(self._asked.text)
        if before is not None and answer.text != before:
            return Outcome.BAD_ANSWER, "the answer is not the one given when the cache was cold"
        return Outcome.OK, ""


def _broken(error: Exception, status: int | None) -> str:
    """Say where the connection or the protocol broke."""
    where = "before an answer came" if status is None else "within the answer"
    if isinstance(error, ConnectionResetError) and status is None:
        return "the connection was closed before an answer came"
    if isinstance(error, HTTPParseError):
        if "Incomplete" in str(error):
            return f"the connection was closed {where}"
        return f"not HTTP, {where}: {error}"
    return f"the connection broke {where}: {error}"


def _told(detail: str) -> str:
    """Shorten what a server said, and blot out what it must not repeat."""
    # Half a surrogate pair, which JSON can hold, could be written to no file and no message.
    sound = detail.encode("utf-8", "backslashreplace").decode()
    line = " ".join(without_secrets(sound).split())
    return line if len(line) <= _DETAIL_LENGTH else f"{line[:_DETAIL_LENGTH]}..."
