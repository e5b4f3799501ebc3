"""
The one switch of observability: `Observed` wraps the parts of the app, `Unobserved` does not.

The agent, its tools, the caches and the sandbox are whole without this. Whoever puts them together
hands them through here first, and works with what comes back: a part that tells metrics and traces
what it does, or the very same part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Protocol

from target_app.agent.execution import Sandbox as Runs
from target_app.agent.llm import LLM, LLMError
from target_app.agent.loop import Listener, RunTurn
from target_app.agent.messages import Ending, Event, IterationStarted, Outcome
from target_app.agent.orchestrator import Orchestrator, RunCall
from target_app.agent.tools import CacheType
from target_app.cache.results import CacheListener
from target_app.cache.results import Outcome as Lookup
from target_app.observability.accounts import Accounts
from target_app.observability.logs import in_session
from target_app.observability.metrics import Metrics, observe
from target_app.observability.observed import (
    CLIENT_LEFT,
    CacheMetrics,
    ObservedLLM,
    ObservedSandbox,
    ObservedTurns,
    child,
)
from target_app.observability.request_trace import current, current_exemplar, new_trace
from target_app.observability.tracing import ChatTrace, Tracing
from target_app.sandbox.isolation import Sandbox
from target_app.sandbox.result import Block


class Seams(Protocol):
    """Where one chat is told of, while it lasts."""

    def llm(self, llm: LLM) -> LLM:
        """Answer the LLM to ask, each attempt a call."""
        ...

    def turns(self, orchestrator: Orchestrator, run_call: RunCall) -> RunTurn:
        """Answer what runs the tool calls of a turn."""
        ...

    def listener(self, listener: Listener) -> Listener:
        """Answer what hears the events of the loop."""
        ...

    def ended(self, outcome: Outcome, session_messages: int) -> None:
        """Hear what the chat came to, and how many messages its session has now."""
        ...


class Telemetry(Protocol):
    """Where the app is told of."""

    def chat(self, session_id: str, message: str) -> AbstractContextManager[Seams]:
        """Hear that a chat begins; it ends with the block, in an error unless told otherwise."""
        ...

    def sandbox(self, sandbox: Sandbox) -> Runs:
        """Answer what runs commands."""
        ...

    def cache_listener(self, cache_type: CacheType) -> CacheListener:
        """Answer what hears a cache."""
        ...

    def blocked(self, block: Block) -> None:
        """Hear that a rule of the sandbox refused something that was no tool call."""
        ...


class Unobserved:
    """Tells nothing: every part is what it was. The seams of a chat, too."""

    @contextmanager
    def chat(self, session_id: str, message: str) -> Iterator[Seams]:  # noqa: ARG002
        """Have a chat of which nothing is told."""
        yield self

    def llm(self, llm: LLM) -> LLM:
        """Answer the LLM itself."""
        return llm

    def turns(self, orchestrator: Orchestrator, run_call: RunCall) -> RunTurn:
        """Answer the orchestrator's own way to run a turn."""
        return partial(orchestrator.run_turn, run_call=run_call)

    def listener(self, listener: Listener) -> Listener:
        """Answer the listener itself."""
        return listener

    def ended(self, outcome: Outcome, session_messages: int) -> None:
        """Tell nothing."""

    def sandbox(self, sandbox: Sandbox) -> Runs:
        """Answer the sandbox itself."""
        return sandbox

    def cache_listener(self, cache_type: CacheType) -> CacheListener:  # noqa: ARG002
        """Answer a listener that does nothing."""
        return _Unheard()

    def blocked(self, block: Block) -> None:
        """Tell nothing."""


class _Unheard:
    """A listener of a cache that hears nothing."""

    def got(self, result: Lookup, reason: str, seconds: float) -> None:
        pass

    def stored(self, result: Lookup, seconds: float) -> None:
        pass

    def invalidated(self, reason: str, count: int) -> None:
        pass

    def evicted(self, tier: str, count: int) -> None:
        pass

    def cleared(self, count: int, seconds: float) -> None:
        pass

    def saved(self, seconds: float) -> None:
        pass


class Observed:
    """Tells metrics and traces of everything."""

    def __init__(self, metrics: Metrics, tracing: Tracing, accounts: Accounts, model: str) -> None:
        """Tell of an app that asks an LLM for `model`."""
        self._metrics = metrics
        self._tracing = tracing
        self._accounts = accounts
        self._model = model

    @contextmanager
    def chat(self, session_id: str, message: str) -> Iterator[Seams]:
        """Count, time and trace a chat, whatever way it ends."""
        request = current()
        # A line of a request names its session by itself.
        session = in_session(session_id) if request is None else nullcontext()
        trace_of_chat = self._tracing.chat(request or new_trace(), session_id, message)
        with session, trace_of_chat as trace:
            seams = _ObservedChat(self._metrics, self._accounts, self._model, trace)
            try:
                yield seams
            except LLMError as error:
                trace.root.fail(str(error))
                raise
            except asyncio.CancelledError:
                self._metrics.errors.labels("client_disconnected", "agent").inc()
                trace.root.fail(CLIENT_LEFT)
                raise
            except Exception as error:
                self._metrics.errors.labels("internal", "agent").inc()
                trace.root.fail(type(error).__name__)
                raise
            finally:
                seams.account()

    def sandbox(self, sandbox: Sandbox) -> Runs:
        """Count and time the commands."""
        return ObservedSandbox(sandbox, self._metrics)

    def cache_listener(self, cache_type: CacheType) -> CacheListener:
        """Count and time what the cache does."""
        return CacheMetrics(cache_type, self._metrics)

    def blocked(self, block: Block) -> None:
        """Count what was refused."""
        self._metrics.sandbox_security_blocks.labels(block).inc()
        self._metrics.errors.labels(block, "sandbox").inc()


class _ObservedChat:
    """The seams of one chat that is told of. Its clock starts when it is made."""

    def __init__(self, metrics: Metrics, accounts: Accounts, model: str, trace: ChatTrace) -> None:
        self._metrics = metrics
        self._accounts = accounts
        self._model = model
        self._trace = trace
        self._iterations = 0
        self._ending = Ending.ERROR
        self._started = time.perf_counter()
        self._seconds: float | None = None

    def llm(self, llm: LLM) -> LLM:
        return ObservedLLM(llm, self._model, self._metrics, self._accounts, self._trace)

    def turns(self, orchestrator: Orchestrator, run_call: RunCall) -> RunTurn:
        return ObservedTurns(orchestrator, run_call, self._metrics, self._trace)

    def listener(self, listener: Listener) -> Listener:
        def hear(event: Event) -> Awaitable[None]:
            if isinstance(event, IterationStarted):
                self._iterations = event.iteration
                self._trace.begin_iteration(event.iteration)
            return listener(event)

        return hear

    def ended(self, outcome: Outcome, session_messages: int) -> None:
        self._seconds = seconds = time.perf_counter() - self._started
        self._ending = outcome.ending
        self._metrics.session_messages.observe(session_messages)
        self._trace.root.update(
            lazily=lambda: {
                "output": {
                    "answer": outcome.answer,
                    "ending": outcome.ending.value,
                    "iterations": outcome.iterations,
                    "tokens": outcome.usage.total,
                    "duration_seconds": round(seconds, 6),
                }
            }
        )

    def account(self) -> None:
        """Count how the chat ended, once it has."""
        metrics = self._metrics
        seconds = self._seconds
        if seconds is None:
            seconds = time.perf_counter() - self._started
        metrics.agent_iterations.observe(self._iterations)
        child(metrics.agent_completions, self._ending).inc()
        duration = child(metrics.agent_execution_duration, self._ending)
        observe(duration, seconds, current_exemplar())
