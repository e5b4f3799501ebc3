"""
The seams: each class here wraps one part of the agent and tells metrics and traces what it did.

The wrapped parts know nothing of it. Time is measured with `time.perf_counter`, in seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

from target_app.agent.llm import LLM, LLMError, OnToken
from target_app.agent.messages import (
    Prompt,
    Reply,
    ToolCall,
    ToolResult,
)
from target_app.agent.orchestrator import Finished, Orchestrator, RunCall
from target_app.agent.tools import TOOLS, CacheType
from target_app.cache.state import Change
from target_app.observability.metrics import UNKNOWN_TOOL, Metrics
from target_app.observability.tracing import ChatTrace, Span, cut, cut_messages, usage_details
from target_app.sandbox.isolation import Sandbox
from target_app.sandbox.result import Command, Execution


class ObservedLLM:
    """An LLM whose calls are counted, timed and traced. One for each chat, with its `calls`."""

    def __init__(self, llm: LLM, model: str, metrics: Metrics, trace: ChatTrace) -> None:
        """Wrap `llm`, which is asked for `model`."""
        self._llm = llm
        self._model = model
        self._metrics = metrics
        self._trace = trace
        self.calls = 0

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        """Ask once; whatever way the call ends, it is counted once."""
        self.calls += 1
        generation = self._generation(prompt)
        headers = {**prompt.headers, **self._trace.forwarded, **generation.headers()}
        prompt = Prompt(prompt.messages, prompt.tools, headers, prompt.timeout_seconds)
        seen = False

        async def first_seen(text: str) -> None:
            nonlocal seen
            if not seen:
                seen = True
                generation.first_token()
            if on_token is not None:
                await on_token(text)

        status = "error"
        started = time.perf_counter()
        with generation:
            try:
                reply = await self._llm.call(prompt, None if on_token is None else first_seen)
                status = "success"
            except LLMError as error:
                self._metrics.errors.labels(error.kind, "llm").inc()
                generation.fail(str(error))
                raise
            except asyncio.CancelledError:
                generation.fail("the client left before the answer was there")
                raise
            finally:
                self._metrics.llm_call_duration.observe(time.perf_counter() - started)
                self._metrics.llm_calls.labels(status).inc()
            if reply.usage is None:
                self._metrics.errors.labels("usage_missing", "llm").inc()
            else:
                self._metrics.count_usage(reply.usage)
            generation.update(
                # The model that answered: its name decides the price.
                model=reply.model,
                output={
                    "content": cut(reply.content),
                    "tool_calls": [
                        {"name": call.name, "arguments": cut(call.arguments)}
                        for call in reply.tool_calls
                    ],
                },
                usage_details=None if reply.usage is None else usage_details(reply.usage),
            )
        return reply

    def _generation(self, prompt: Prompt) -> Span:
        above = self._trace.iteration
        if not above.is_recording:
            return above
        return above.child(
            "generation",
            "llm",
            model=self._model,
            input=cut_messages(prompt.messages),
            metadata={"tools_offered": len(prompt.tools)},
        )


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
        with self._trace.iteration.child(
            "span", "tool-execution", metadata={"strategy": strategy, "calls": len(calls)}
        ) as turn:

            async def run_call(call: ToolCall) -> ToolResult:
                name = call.name if call.name in TOOLS else UNKNOWN_TOOL
                with turn.child("tool", name, input=cut(call.arguments)) as span:
                    started = time.perf_counter()
                    result = await self._run_call(call)
                    duration = time.perf_counter() - started
                    self._count(name, result, duration)
                    span.update(
                        output={
                            "success": result.result.success,
                            "output_length": len(result.result.stdout),
                            "cache_hit": result.cache_hit,
                            "return_code": result.result.return_code,
                            "duration_seconds": round(duration, 6),
                        }
                    )
                    if result.status != "success":
                        span.fail(cut(result.result.error or result.status))
                return result

            return await self._orchestrator.run_turn(
                calls, run_call, finished, metrics.tool_semaphore_wait.observe
            )

    def _count(self, name: str, result: ToolResult, duration: float) -> None:
        metrics = self._metrics
        metrics.tool_executions.labels(name, result.status).inc()
        metrics.tool_execution_duration.labels(name).observe(duration)
        if result.blocked is not None:
            metrics.sandbox_security_blocks.labels(result.blocked).inc()
            metrics.errors.labels(result.blocked, "sandbox").inc()


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
