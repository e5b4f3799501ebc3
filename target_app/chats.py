"""One chat from question to answer: the session, the loop, and what is told about both."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Protocol

from target_app.agent.llm import LLM, LLMError
from target_app.agent.loop import run_loop
from target_app.agent.messages import Ending, Event, IterationStarted, Message, Outcome
from target_app.agent.orchestrator import Orchestrator, RunCall, answering_refusals
from target_app.agent.retries import Retries, RetryingLLM
from target_app.agent.tools import offered
from target_app.observability.metrics import Metrics
from target_app.observability.observed import ObservedLLM, ObservedTurns
from target_app.observability.trace_context import TraceContext
from target_app.observability.tracing import ChatTrace, Tracing, cut
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
    """What a caller wants to know, and where it comes from."""

    message: str
    session_id: str | None
    trace_context: TraceContext


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
    """Answers questions; counts and traces every one of them, whatever way it ends."""

    def __init__(
        self,
        *,
        llm: LLM,
        model: str,
        retries: Retries,
        run_call: RunCall,
        orchestrator: Orchestrator,
        sessions: Sessions,
        metrics: Metrics,
        tracing: Tracing,
        max_iterations: int,
    ) -> None:
        """Use parts that were made once for the whole app."""
        self._llm = llm
        self._model = model
        self._retries = retries
        self._run_call = answering_refusals(run_call)
        self._orchestrator = orchestrator
        self._sessions = sessions
        self._metrics = metrics
        self._tracing = tracing
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
            with self._tracing.chat(question.trace_context, session.id, question.message) as trace:
                llm = ObservedLLM(self._llm, self._model, self._metrics, trace)
                outcome = await self._observed(messages, llm, trace, listener)
            session.add(question.message, outcome.answer)
            self._metrics.session_messages.observe(len(session.messages))
            return Answer(session.id, outcome, llm.calls)

    async def _observed(
        self,
        messages: list[Message],
        llm: ObservedLLM,
        trace: ChatTrace,
        listener: SessionListener | None,
    ) -> Outcome:
        """Run the loop, and count and trace how it ended."""
        metrics = self._metrics
        iterations = 0
        ending = Ending.ERROR

        async def hear(event: Event) -> None:
            nonlocal iterations
            if isinstance(event, IterationStarted):
                iterations = event.iteration
                trace.begin_iteration(iterations)
            if listener is not None:
                await listener.heard(event)

        started = time.perf_counter()
        try:
            outcome = await run_loop(
                messages,
                # The retries are outside, so that each attempt is a call that was made.
                llm=RetryingLLM(llm, self._retries),
                tools=TOOLS_OFFERED,
                run_turn=ObservedTurns(self._orchestrator, self._run_call, metrics, trace),
                max_iterations=self._max_iterations,
                listener=hear,
                stream=listener is not None,
            )
            ending = outcome.ending
        except LLMError as error:
            hint = "; is the key right?" if error.status in {401, 403} else ""
            logger.warning("a chat failed: %s%s", error, hint)
            trace.root.fail(str(error))
            raise
        except asyncio.CancelledError:
            metrics.errors.labels("client_disconnected", "agent").inc()
            trace.root.fail("the client left before the answer was there")
            raise
        except Exception as error:
            metrics.errors.labels("internal", "agent").inc()
            trace.root.fail(type(error).__name__)
            raise
        finally:
            duration = time.perf_counter() - started
            metrics.agent_iterations.observe(iterations)
            metrics.agent_completions.labels(ending).inc()
            metrics.agent_execution_duration.labels(ending).observe(duration)
        trace.root.update(
            output={
                "answer": cut(outcome.answer),
                "ending": outcome.ending.value,
                "iterations": outcome.iterations,
                "tokens": outcome.usage.total,
                "duration_seconds": round(duration, 6),
            }
        )
        return outcome
