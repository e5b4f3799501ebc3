"""AgentUser: a Locust user that talks to an agent app and keeps every request as evidence."""

from __future__ import annotations

import json as jsonlib
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import gevent
from gevent.local import local
from locust import FastHttpUser, between
from locust.exception import CatchResponseError, RescheduleTask, StopUser

from harness.load import clock, trace_context
from harness.load.apis.filesystem_agent import FilesystemAgent
from harness.load.arrivals import Arrivals
from harness.load.chat_api import Answer, ChatApi, Conversation
from harness.load.exchange import Chat, Exchange, Plain, Reply
from harness.load.prepare import Step
from harness.load.questions import Deck, Question
from harness.load.wire import Connections, request_target
from harness.model import Outcome, Sample

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class _Due(local):
    """When the next request of this greenlet is due; None where that is not settled."""

    intended: float | None = None


class TurnedAway(StopUser):
    """Why a user sends nothing more: not that it has nothing to ask, but that it may not."""


_due = _Due()


class AgentUser(FastHttpUser):
    """
    One user of an agent app, or a whole stream of them.

    In a closed loop (plain `locust -u N`) it is one user, who waits for each
    answer. In an open loop (`harness run`) one instance per process starts a
    journey at every intended start of `arrivals`, whatever the server does.

    A request may take `patience` seconds as a whole; a stream that brings
    nothing for `stall` seconds has broken; of an answer larger than
    `largest_answer` bytes no more is read. `ceiling` limits the journeys that
    may be under way at once, in the whole run.
    """

    abstract = True
    wait_time = between(0.5, 1.5)
    connection_timeout = 10.0
    insecure = False  # Locust's own default would accept any certificate

    api: ClassVar[ChatApi] = FilesystemAgent()
    arrivals: ClassVar[Arrivals | None] = None
    prepare: ClassVar[Sequence[Step]] = ()
    questions: ClassVar[Deck | None] = None
    model: ClassVar[str] = "gpt-4o-mini"
    ceiling: ClassVar[int] = 1000
    patience: ClassVar[float] = 120.0
    stall: ClassVar[float] = 30.0
    largest_answer: ClassVar[int] = 16 * 1024**2

    _scenario: ClassVar[str]

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse with ValueError, naming the attribute, what cannot be right in a scenario."""
        super().__init_subclass__(**options)
        cls._scenario = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        if not isinstance(cls.api, ChatApi):
            raise ValueError(  # noqa: TRY004 - as all that is wrong in a scenario
                f"{cls.__name__}.api is {cls.api!r}, not a chat API; "
                "write one such as OpenAIChat('gpt-4o-mini') or Http(...)"
            )
        for name, number, kind in (
            ("patience", int | float, "a number"),
            ("stall", int | float, "a number"),
            ("largest_answer", int, "a whole number"),
            ("ceiling", int, "a whole number"),
        ):
            value = getattr(cls, name)
            fits = isinstance(value, number) and not isinstance(value, bool)
            if not fits or not value > 0:
                wanted = "more than 0" if fits else kind
                raise ValueError(f"{cls.__name__}.{name} is {value!r}; give {wanted}")

    def __init__(self, environment: Any) -> None:
        """Note when each task was due, since response time runs from there."""
        super().__init__(environment)
        wait_time: Callable[[], float] = self.wait_time
        self._connections = Connections(self.host or "", self.connection_timeout)
        self._shared: dict[tuple[str, str], dict[str, str]] = {}
        self._heads: dict[tuple[str, str], str] = {}

        def timed() -> float:
            pause = wait_time()
            _due.intended = clock.now() + pause
            return pause

        self.wait_time = timed  # type: ignore[method-assign]

    @classmethod
    def scenario(cls) -> str:
        """Name of the scenario: the class's own, in lower case with underscores."""
        return cls._scenario

    def on_start(self) -> None:
        """In an open loop, leave all to the schedule, and only wait until the load ends."""
        while self.session.open_loop:
            gevent.sleep(3600)

    def on_stop(self) -> None:
        """Close what is left open."""
        self._connections.close()

    @property
    def session(self) -> Any:
        """The load session of this process (harness.load.session.Session)."""
        return self.environment.harness_session

    # -- what a scenario is written with -------------------------------------------------

    def chat(
        self,
        question: Question | str,
        *,
        stream: bool = False,
        conversation: Conversation | None = None,
    ) -> Answer | None:
        """
        Ask one question and keep the request as a sample; None when it failed.

        An answer that lacks what a right one contains is a bad answer, and so is
        one that differs from what the app answered when its cache was cold. With
        a conversation, it is the next turn of it.
        """
        asked = question if isinstance(question, Question) else Question(question)
        api = self.api
        path = api.path(stream=stream)
        body = jsonlib.dumps(api.body(asked.text, conversation, stream=stream)).encode()
        chat = Chat(api, asked, self.session, self.stall if stream else None)
        accept = "text/event-stream" if stream else "application/json"
        sent = f"Accept: {accept}\r\nContent-Type: application/json\r\n"
        operation = "chat_stream" if stream else "chat"
        if self._ask(chat, "POST", path, sent, body, operation) is not Outcome.OK:
            return None
        answer = chat.answer
        if conversation is not None and answer is not None:
            conversation.session_id = answer.session_id or conversation.session_id
            conversation.turns.append((asked.text, answer.text))
        return answer

    def request(
        self,
        method: str,
        path: str,
        *,
        operation: str,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] = (200,),
        name: str | None = None,
        traced: bool = False,
    ) -> Reply | None:
        """
        Send any other request and keep it as a sample; None when it failed.

        A status in `expect` is what was wanted, an error's included; another one
        is an HTTP error from 400 on, and a bad answer below. `name` is what Locust
        calls it, where paths differ from request to request. `traced` says whether
        the target keeps a trace of it.
        """
        own = {header.lower() for header in headers or ()}
        sent = "".join(_line(*header) for header in (headers or {}).items())
        if json is not None:
            content = jsonlib.dumps(json).encode()
            if "content-type" not in own:
                sent += "Content-Type: application/json\r\n"
        plain = Plain(expect)
        outcome = self._ask(
            plain, method, path, sent, content or b"", operation, own, name=name, traced=traced
        )
        return plain.reply if outcome is Outcome.OK else None

    def think(self, seconds: float) -> None:
        """Pause as a person would: the next request is due when the pause is over."""
        now = clock.now()
        # Before the first request of a journey, the pause delays what is due.
        due = (now if _due.intended is None else _due.intended) + seconds
        _due.intended = due
        gevent.sleep(max(0.0, due - now))

    # -- how it is run ---------------------------------------------------------------------

    def journey(self, intended: float) -> None:
        """Run one task whose first request was due at the intended instant."""
        _due.intended = intended
        task = self.session.choose(self.tasks)
        try:
            task(self)
        except (TurnedAway, RescheduleTask):
            pass  # the session knows why
        except StopUser as error:
            self.session.used_up(self._scenario, str(error))

    def _ask(
        self,
        exchange: Exchange,
        method: str,
        path: str,
        sent: str,
        body: bytes,
        operation: str,
        own: Collection[str] = (),
        *,
        name: str | None = None,
        traced: bool = True,
    ) -> Outcome:
        """Send one request and keep it, whatever becomes of it; StopUser when none may be sent."""
        session = self.session
        target = self._connections.base + request_target(path)
        if not session.may_send(paid=traced):
            if session.limits.undecided:
                raise RescheduleTask  # in a closed loop, the user waits and tries again
            raise TurnedAway("no more requests may be sent")
        trace_id = trace_context.new_trace_id()
        message = (
            f"{method} {target} HTTP/1.1\r\n"
            f"{self._head(own)}traceparent: {trace_context.traceparent(trace_id)}\r\n"
            f"{sent}Content-Length: {len(body)}\r\n\r\n"
        ).encode("latin-1") + body
        intended, start = self._start()
        session.in_flight += 1
        try:
            exchange.run(
                self._connections,
                message,
                method,
                start=start,
                patience=self.patience,
                largest=self.largest_answer,
            )
        finally:
            session.in_flight -= 1
            # Of a request that was killed, nothing more is known than that.
            end, answer, pieces = exchange.end or clock.now(), exchange.answer, exchange.pieces
            gaps = pieces.gaps if pieces else ()
            session.record(
                Sample(
                    scenario=self._scenario,
                    operation=operation,
                    trace_id=trace_id,
                    intended_start=intended,
                    start=start,
                    end=end,
                    outcome=exchange.outcome,
                    first_token=pieces.first if pieces else None,
                    http_status=exchange.status,
                    input_tokens=answer.input_tokens if answer else None,
                    output_tokens=answer.output_tokens if answer else None,
                    llm_calls=answer.llm_calls if answer else None,
                    tool_calls=answer.tool_calls if answer else None,
                    events=pieces.count if pieces else None,
                    longest_gap=max(gaps, default=None),
                    traced=traced,
                    detail=exchange.detail,
                ),
                gaps,
                (answer.model or "") if answer else "",
            )
        self._tell_locust(exchange, method, name or path, end - start)
        return exchange.outcome

    def _start(self) -> tuple[float, float]:
        """When the request was due, and now; later requests of a task are due at once."""
        start, intended = clock.now(), _due.intended
        _due.intended = None
        return start if intended is None else min(intended, start), start

    def _head(self, own: Collection[str]) -> str:
        """Give the headers that all requests of a run and label share, but for a request's own."""
        session = self.session
        key = (session.run_id, session.label(self._scenario))
        if key not in self._shared:
            fixed = {
                "Host": self._connections.host,
                "User-Agent": "harness",
                "Accept-Encoding": "identity",  # packed streams come in blocks
                "baggage": trace_context.baggage(*key),
                **self.api.headers(),
            }
            self._shared[key] = {name.lower(): _line(name, fixed[name]) for name in fixed}
            self._heads[key] = "".join(self._shared[key].values())
        if not own:
            return self._heads[key]
        return "".join(line for name, line in self._shared[key].items() if name not in own)

    def _tell_locust(self, exchange: Exchange, method: str, name: str, seconds: float) -> None:
        """Let Locust's own statistics and web UI count it too."""
        problem = None
        if exchange.outcome is not Outcome.OK:
            problem = CatchResponseError(f"{exchange.outcome}: {exchange.detail}")
        self.environment.events.request.fire(
            request_type=method,
            name=name,
            response_time=1000 * seconds,
            response_length=exchange.size,
            exception=problem,
            context=self.context(),
            start_time=time.time() - seconds,
            url=f"{self.host}{name}",
            response=None,
        )


def _line(name: str, value: str) -> str:
    """Write a header; raises ValueError when it cannot be one."""
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError(f"the header {name!r} holds characters that no header can")
    return f"{name}: {value}\r\n"
