"""
The seams: each class here wraps one part of the agent and tells metrics and traces what it did.

The wrapped parts know nothing of it. Time is measured with `time.perf_counter`, in seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import Literal, TypeVar

from prometheus_client import Counter, Histogram

from target_app.agent.llm import LLM, LLMError, OnToken
from target_app.agent.messages import Prompt, Reply, ToolCall, ToolResult
from target_app.agent.orchestrator import Finished, Orchestrator, RunCall
from target_app.agent.tools import TOOLS, CacheType
from target_app.cache.state import Change
from target_app.observability.accounts import Accounts
from target_app.observability.metrics import UNKNOWN_TOOL, Metrics, observe
from target_app.observability.request_trace import current_exemplar
from target_app.observability.spans import Details, Span
from target_app.observability.tracing import ChatTrace
from target_app.sandbox.isolation import Sandbox
from target_app.sandbox.result import Command, Execution

CLIENT_LEFT = "the client left before the answer was there"


Metric = TypeVar("Metric", Counter, Histogram)


@lru_cache(maxsize=512)
def child(metric: Metric, *labels: str) -> Metric:
    """Answer the child with these labels: what every chat counts is not looked up every time."""
    return metric.labels(*labels)


class ObservedLLM:
    """An LLM whose calls are counted, timed and traced. One for each chat."""

    def __init__(
        self, llm: LLM, model: str, metrics: Metrics, accounts: Accounts, trace: ChatTrace
    ) -> None:
        """Wrap `llm`, which is asked for `model`."""
        self._llm = llm
        self._model = model
        self._metrics = metrics
        self._accounts = accounts
        self._trace = trace

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        """Ask once; whatever way the call ends, it is counted once."""
        generation = self._trace.iteration
        if generation.is_recording:
            generation = generation.child(
                "generation", "llm", lazily=lambda: self._asked(prompt, on_token)
            )
        headers = prompt.headers
        if self._trace.forwarded or generation.is_recording:
            headers = {**headers, **self._trace.forwarded, **generation.headers()}

        def broke_off(part: Reply) -> None:
            self._accounts.book(part, whole=False)
            generation.update(lazily=lambda: _answered(part))
            if prompt.broke_off is not None:
                prompt.broke_off(part)

        asked = Prompt(prompt.messages, prompt.tools, headers, prompt.timeout_seconds, broke_off)
        heard = None if on_token is None else _first_told(generation, on_token)
        metrics = self._metrics
        status = "error"
        with generation:
            started = time.perf_counter()
            try:
                reply = await self._llm.call(asked, heard)
                status = "success"
            except LLMError as error:
                metrics.errors.labels(error.kind, "llm").inc()
                generation.fail(str(error))
                raise
            except asyncio.CancelledError:
                generation.fail(CLIENT_LEFT)
                raise
            except Exception as error:
                generation.fail(type(error).__name__)
                raise
            finally:
                duration = time.perf_counter() - started
                observe(metrics.llm_call_duration, duration, current_exemplar())
                child(metrics.llm_calls, status).inc()
            self._accounts.book(reply)
            generation.update(lazily=lambda: _answered(reply))
        await self._accounts.check(asked, reply)
        return reply

    def _asked(self, prompt: Prompt, on_token: OnToken | None) -> Details:
        parameters: dict[str, str | bool] = {"stream": on_token is not None}
        if prompt.tools:
            parameters["tool_choice"] = "auto"
        return {
            "model": self._model,
            "model_parameters": parameters,
            "input": prompt.messages,
            "metadata": {"tools_offered": len(prompt.tools)},
        }


def _first_told(generation: Span, on_token: OnToken) -> OnToken:
    """Pass on the pieces of an answer, and tell of the first."""
    seen = False

    def hear(text: str) -> Awaitable[None]:
        nonlocal seen
        if not seen:
            seen = True
            generation.first_token()
        return on_token(text)

    return hear


def _answered(reply: Reply) -> Details:
    wanted = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
    return {
        # The model that answered: its name decides the price.
        "model": reply.model,
        "output": {"content": reply.content, "tool_calls": wanted},
        "usage": reply.usage,
        "usage_estimated": reply.usage_estimated,
    }


class ObservedTurns:
    """Turns of tool calls, counted, timed and traced. One for each chat."""

    def __init__(
        self, orchestrator: Orchestrator, run_call: RunCall, metrics: Metrics, trace: ChatTrace
    ) -> None:
        """Run calls by `run_call`, as many at a time as `orchestrator` allows."""
        self._orchestrator = orchestrator
        self._run_call = run_call
        self._metrics = metrics
        self._trace = trace

    async def __call__(
        self, calls: Sequence[ToolCall], finished: Finished
    ) -> tuple[ToolResult, ...]:
        """Run one turn."""
        metrics = self._metrics
        if self._orchestrator.runs_together(calls):
            strategy = "parallel"
            metrics.parallel_tool_executions.inc(len(calls))
        else:
            strategy = "sequential"
            metrics.sequential_tool_executions.inc(len(calls))
        waited = metrics.tool_semaphore_wait.observe
        iteration = self._trace.iteration
        if not iteration.is_recording:
            return await self._orchestrator.run_turn(
                calls, finished, run_call=self._counted, waited=waited
            )
        with iteration.child(
            "span", "tool-execution", metadata={"strategy": strategy, "calls": len(calls)}
        ) as turn:

            async def run_call(call: ToolCall) -> ToolResult:
                with turn.child("tool", _known(call.name), input=call.arguments) as span:
                    return await self._counted(call, span)

            return await self._orchestrator.run_turn(
                calls, finished, run_call=run_call, waited=waited
            )

    async def _counted(self, call: ToolCall, span: Span | None = None) -> ToolResult:
        """Run a call, count and time it, and tell its span what it came to."""
        started = time.perf_counter()
        result = await self._run_call(call)
        duration = time.perf_counter() - started
        name = _known(call.name)
        metrics = self._metrics
        child(metrics.tool_executions, name, result.status).inc()
        observe(child(metrics.tool_execution_duration, name), duration, current_exemplar())
        if result.blocked is not None:
            metrics.sandbox_security_blocks.labels(result.blocked).inc()
            metrics.errors.labels(result.blocked, "sandbox").inc()
        if span is not None:
            span.update(lazily=lambda: _came_to(result, duration))
            if result.status != "success":
                span.fail(result.result.error or result.status)
        return result


def _known(name: str) -> str:
    """Answer the name that is told of a tool: what the LLM made up is no label."""
    return name if name in TOOLS else UNKNOWN_TOOL


def _came_to(result: ToolResult, duration: float) -> Details:
    return {
        "output": {
            "success": result.result.success,
            "output_length": len(result.result.stdout),
            "cache_hit": result.cache_hit,
            "return_code": result.result.return_code,
            "duration_seconds": round(duration, 6),
        }
    }


class CacheMetrics:
    """Hears what one cache does, and counts it. Called from many threads."""

    def __init__(self, cache_type: CacheType, metrics: Metrics) -> None:
        """Count as `cache_type`."""
        self._type = cache_type
        self._metrics = metrics
        # Looked up once: an answer from memory takes little longer than finding a label.
        self._hits = metrics.cache_operations.labels("get", cache_type, "hit")
        self._get_seconds = metrics.cache_operation_duration.labels("get", cache_type)
        self._saved = metrics.cache_saved.labels(cache_type)

    def got(self, result: Literal["hit", "miss", "error"], reason: str, seconds: float) -> None:
        """Count a question; `reason` says why there was no answer."""
        self._get_seconds.observe(seconds)
        if result == "hit":
            self._hits.inc()
            return
        self._metrics.cache_operations.labels("get", self._type, result).inc()
        if result == "miss":
            self._metrics.cache_misses.labels(self._type, reason).inc()

    def stored(self, result: Literal["hit", "miss", "error"], seconds: float) -> None:
        """Count a result that was to be kept; a miss was too large."""
        self._metrics.cache_operations.labels("set", self._type, result).inc()
        self._metrics.cache_operation_duration.labels("set", self._type).observe(seconds)

    def invalidated(self, reason: str, count: int) -> None:
        """Count entries that are or may be untrue."""
        self._metrics.cache_invalidations.labels(self._type, reason).inc(count)

    def evicted(self, tier: str, count: int) -> None:
        """Count entries that made room."""
        self._metrics.cache_evictions.labels(self._type, tier).inc(count)

    def cleared(self, count: int, seconds: float) -> None:
        """Count an emptying; every entry counts as invalidated by hand."""
        operation = "hit" if count else "miss"
        self._metrics.cache_operations.labels("delete", self._type, operation).inc()
        self._metrics.cache_operation_duration.labels("delete", self._type).observe(seconds)
        self.invalidated(Change.MANUAL, count)

    def saved(self, seconds: float) -> None:
        """Count the time that a command would have taken again."""
        self._saved.inc(seconds)


class ObservedSandbox:
    """
    A sandbox whose commands are counted and timed.

    The one place that does: callers who share an execution are one command, and what never ran
    is none.
    """

    def __init__(self, sandbox: Sandbox, metrics: Metrics) -> None:
        """Wrap `sandbox`."""
        self._sandbox = sandbox
        self._metrics = metrics
        self._restarts = sandbox.restarts

    async def run(self, command: Command) -> Execution:
        """Run one command."""
        metrics = self._metrics
        started = time.perf_counter()
        execution = await self._sandbox.run(command)
        duration = time.perf_counter() - started
        seconds = min(execution.seconds, duration)
        metrics.sandbox_wait.labels(command.name).observe(duration - seconds)
        if execution.ran:
            self._count(command.name, execution, seconds)
        else:
            metrics.errors.labels("unavailable", "sandbox").inc()
        restarts = self._sandbox.restarts
        metrics.sandbox_worker_restarts.inc(restarts - self._restarts)
        self._restarts = restarts
        return execution

    def _count(self, name: str, execution: Execution, seconds: float) -> None:
        """Count a command that ran, for so many seconds."""
        metrics = self._metrics
        metrics.sandbox_execution_duration.labels(name).observe(seconds)
        metrics.sandbox_executions.labels(name, execution.status).inc()
        metrics.sandbox_output_size.labels(name).observe(len(execution.stdout))
        if execution.status == "timeout":
            metrics.sandbox_timeouts.labels(name).inc()
            metrics.errors.labels("timeout", "sandbox").inc()
        if execution.fault:
            metrics.errors.labels("internal", "sandbox").inc()
