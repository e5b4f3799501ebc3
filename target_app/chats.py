"""One chat from question to answer: the session and the loop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from target_app.agent.llm import LLM, LLMError
from target_app.agent.loop import run_loop
from target_app.agent.messages import Event, Message, Outcome
from target_app.agent.orchestrator import Orchestrator, RunCall, answering_refusals
from target_app.agent.retries import Retries, RetryingLLM
from target_app.agent.tools import offered
from target_app.observability.telemetry import Telemetry
from target_app.sessions import Sessions

logger = logging.getLogger(__name__)

INSTRUCTIONS = (
    "You answer questions about a folder of documents. Find the answer with the tools; never "
    "guess it. Search with grep and find, then read what you found. Call several tools at "
    "once when they do not depend on each other. Paths are relative to the root of the folder. "
    "Name the file an answer comes from, and say so when the documents do not have it."
)

TOOLS_OFFERED = offered()


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller wants to know, and in which conversation."""

    message: str
    session_id: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the caller gets, and the session it can go on in.

    `llm_calls` counts every attempt, also those that failed and were made again.
    """

    session_id: str
    outcome: Outcome
    llm_calls: int


class SessionListener(Protocol):
    """Hears what happens in a chat."""

    async def began(self, session_id: str) -> None:
        """Hear the session's id, before anything else."""
        ...

    async def heard(self, event: Event) -> None:
        """Hear an event of the loop."""
        ...


class Chats:
    """Answers questions, and has each of them told of."""

    def __init__(
        self,
        *,
        llm: LLM,
        retries: Retries,
        run_call: RunCall,
        orchestrator: Orchestrator,
        sessions: Sessions,
        telemetry: Telemetry,
        max_iterations: int,
    ) -> None:
        """Use parts that were made once for the whole app."""
        self._llm = llm
        self._retries = retries
        self._run_call = answering_refusals(run_call)
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._telemetry = telemetry
        self._max_iterations = max_iterations

    async def answer(self, question: Question, listener: SessionListener | None = None) -> Answer:
        """
        Answer one question; with a listener the answer is streamed to it.

        Raises LLMError when the LLM fails. What was asked is then not remembered.
        """
        async with self._sessions.use(question.session_id) as session:
            if listener is not None:
                await listener.began(session.id)
            messages: list[Message] = [
                {"role": "system", "content": INSTRUCTIONS},
                *session.messages,
                {"role": "user", "content": question.message},
            ]
            with self._telemetry.chat(session.id, question.message) as seams, _failures_logged():
                # The retries are outside, so that each attempt is a call that was made.
                llm = RetryingLLM(seams.llm(self._llm), self._retries)
                outcome = await run_loop(
                    messages,
                    llm=llm,
                    tools=TOOLS_OFFERED,
                    run_turn=seams.turns(self._orchestrator, self._run_call),
                    max_iterations=self._max_iterations,
                    listener=seams.listener(listener.heard if listener else _hear_nothing),
                    stream=listener is not None,
                )
                session.add(question.message, outcome.answer)
                seams.ended(outcome, len(session.messages))
            return Answer(session.id, outcome, llm.calls)


@contextmanager
def _failures_logged() -> Iterator[None]:
    try:
        yield
    except LLMError as error:
        hint = "; is the key right?" if error.status in {401, 403} else ""
        logger.warning("a chat failed: %s%s", error, hint)
        raise


async def _hear_nothing(event: Event) -> None:
    """Be the listener of a chat that is not streamed."""
