"""AgentUser: a Locust user that talks to an agent app and keeps every request as evidence."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from gevent import GreenletExit
from gevent.local import local
from locust import FastHttpUser, between
from locust.exception import StopUser

from harness.load import chat_api, clock
from harness.load.arrivals import Arrivals
from harness.load.chat_api import Answer
from harness.load.prepare import Step, authorization
from harness.load.questions import Deck, Question
from harness.load.trace_context import headers, new_trace_id
from harness.model import Outcome, Sample

_due = local()
# Servers close idle connections after some seconds (uvicorn: 5). One that is reused just then
# fails, through no fault of the target's, so none is kept that long.
_CONNECTIONS_SECONDS = 3.0


class AgentUser(FastHttpUser):
    """
    One user of an agent app, or a whole stream of them.

    In a closed loop (plain `locust -u N`) it is one user, who waits for each
    answer. In an open loop (`harness run`) one instance per process starts a
    journey at every intended start of `arrivals`, whatever the server does.
    """

    abstract = True
    wait_time = between(0.5, 1.5)
    network_timeout = 60.0
    connection_timeout = 10.0
    concurrency = 2000

    chat_path = chat_api.CHAT
    stream_path = chat_api.STREAM

    arrivals: ClassVar[Arrivals | None] = None
    prepare: ClassVar[Sequence[Step]] = ()
    questions: ClassVar[Deck | None] = None

    def __init__(self, environment: Any) -> None:
        """Note when each task was due, since response time runs from there."""
        super().__init__(environment)
        wait_time: Callable[[], float] = self.wait_time
        self._due: float | None = None
        self._connected = clock.now()

        def timed() -> float:
            pause = wait_time()
            self._due = clock.now() + pause
            return pause

        self.wait_time = timed  # type: ignore[method-assign]

    @classmethod
    def scenario(cls) -> str:
        """Name of the scenario: the class's own, in lower case with underscores."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def on_start(self) -> None:
        """In an open loop, run the whole schedule."""
        if self.session.open_loop:
            self.environment.harness_owner.run_schedule(self)
            raise GreenletExit  # this user's work is done; Locust logs any other exception

    @property
    def session(self) -> Any:
        """The load session of this process (harness.load.session.Session)."""
        return self.environment.harness_session

    # -- the chat API: override these for an app that speaks another ---------------

    def chat_body(self, message: str, session_id: str | None) -> dict[str, Any]:
        """Write the JSON body of a chat request."""
        return chat_api.question(message, session_id)

    def read_answer(self, body: bytes) -> Answer:
        """Read a whole answer; raises BadAnswerError when it is not one."""
        return chat_api.read_answer(body)

    def read_stream(self, readline: Callable[[], bytes]) -> Answer:
        """Read a streamed answer to its end; raises BrokenStreamError when it has none."""
        return chat_api.read_stream(readline, clock.now)

    # -- one request -----------------------------------------------------------------

    def journey(self, intended: float) -> None:
        """Run one task whose first request was due at the intended instant."""
        _due.intended = intended
        task = self.session.choose(self.tasks)
        try:
            task(self)
        except StopUser:
            self.session.stopping = True  # nothing is left to ask

    def chat(
        self, question: Question | str, *, stream: bool = False, session_id: str | None = None
    ) -> Answer | None:
        """
        Ask one question and keep the request as a sample; None when it failed.

        An answer that lacks what a right one contains is a bad answer.
        """
        asked = question if isinstance(question, Question) else Question(question)
        trace_id = new_trace_id()
        intended, start = self._start()
        answer: Answer | None = None
        outcome, status, detail = Outcome.CUT_OFF, None, "the load ended"
        self.session.in_flight += 1
        try:
            answer, outcome, status, detail = self._request(
                asked, trace_id, session_id, stream=stream
            )
        finally:
            end = clock.now()
            operation = "chat_stream" if stream else "chat"
            self.session.record(
                Sample(
                    scenario=self.scenario(),
                    operation=operation,
                    trace_id=trace_id,
                    intended_start=intended,
                    start=start,
                    end=end,
                    outcome=outcome,
                    first_token=answer.first_token if answer else None,
                    http_status=status,
                    input_tokens=answer.input_tokens if answer else None,
                    output_tokens=answer.output_tokens if answer else None,
                    llm_calls=answer.llm_calls if answer else None,
                    tool_calls=answer.tool_calls if answer else None,
                    detail=detail,
                )
            )
            self.session.in_flight -= 1
        return answer if outcome is Outcome.OK else None

    def _start(self) -> tuple[float, float]:
        """When the request was due, and now; later requests of a task are due at once."""
        start = clock.now()
        intended = getattr(_due, "intended", None) or self._due or start
        _due.intended = self._due = None
        return min(intended, start), start

    def _request(
        self, question: Question, trace_id: str, session_id: str | None, *, stream: bool
    ) -> tuple[Answer | None, Outcome, int | None, str]:
        path = self.stream_path if stream else self.chat_path
        sent = {
            **authorization(),
            **headers(trace_id, self.session.run_id, self.session.label(self.scenario())),
        }
        started = clock.now()
        if started - self._connected > _CONNECTIONS_SECONDS:
            self.client.client.clientpool.close()
            self._connected = started
        with self.client.post(
            path,
            json=self.chat_body(question.text, session_id),
            headers=sent,
            name=path,
            stream=stream,
            catch_response=True,
        ) as response:
            answer, outcome, detail = self._read(response, question, stream=stream)
            # Locust's own figure for a stream stops at the headers.
            response.request_meta["response_time"] = 1000 * (clock.now() - started)
            if outcome is Outcome.OK:
                response.success()
            else:
                response.failure(f"{outcome}: {detail}")
            return answer, outcome, response.status_code or None, detail

    def _read(
        self, response: Any, question: Question, *, stream: bool
    ) -> tuple[Answer | None, Outcome, str]:
        """Tell how a request ended, and what was answered."""
        if response.status_code >= 400:
            return None, Outcome.HTTP_ERROR, f"HTTP {response.status_code}"
        try:
            answer = self._answer(response, stream=stream)
        except Exception as error:  # noqa: BLE001 - whatever the socket does, the request is kept
            problem = _cause(error)
            return None, _failed(problem), str(problem)
        if question.answer is not None and question.answer not in answer.text:
            return answer, Outcome.BAD_ANSWER, f"the answer lacks {question.answer!r}"
        return answer, Outcome.OK, ""

    def _answer(self, response: Any, *, stream: bool) -> Answer:
        """Read the whole answer; raises whatever went wrong on the way."""
        problem: Exception | None = response.request_meta["exception"]
        if problem is not None:
            raise problem
        if stream:
            return self.read_stream(lambda: response.stream.readline(b"\n"))
        return self.read_answer(response.content or b"")


def _cause(problem: BaseException) -> BaseException:
    """Take off the wrapping in which the HTTP client says that it did not try again."""
    original = getattr(problem, "original", None)
    return original if isinstance(original, BaseException) else problem


def _failed(problem: BaseException) -> Outcome:
    """Name the outcome of a request that got no good answer."""
    if isinstance(problem, chat_api.BadAnswerError):
        return Outcome.BAD_ANSWER
    if isinstance(problem, TimeoutError):
        return Outcome.TIMEOUT
    if isinstance(problem, ConnectionRefusedError | socket.gaierror | ssl.SSLError):
        return Outcome.REFUSED  # it never reached the server
    return Outcome.BROKEN_STREAM
