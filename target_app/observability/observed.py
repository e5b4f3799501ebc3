"""
The seams: each class here wraps one part of the agent and tells metrics and traces what it did.

The wrapped parts know nothing of it. Time is measured with `time.perf_counter`, in seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from target_app.agent.execution import CacheType, Execution
from target_app.agent.llm import LLM, LLMError, OnToken
from target_app.agent.messages import (
    Prompt,
    Reply,
    ToolCall,
    ToolResult,
)
from target_app.agent.orchestrator import Orchestrator, RunCall
from target_app.agent.tools import TOOLS, Tool
from target_app.cache.results import Hit, Miss, ResultCache
from target_app.cache.state import Change, State
from target_app.observability.metrics import UNKNOWN_TOOL, Metrics
from target_app.observability.tracing import ChatTrace, cut, cut_messages, usage_details
from target_app.sandbox.commands import Output
from target_app.sandbox.paths import Opened


class ObservedLLM:
    """An LLM whose calls are counted, timed and traced. One for each chat."""

    def __init__(self, llm: LLM, model: str, metrics: Metrics, trace: ChatTrace) -> None:
        """Wrap `llm`, which is asked for `model`."""
        self._llm = llm
        self._model = model
        self._metrics = metrics
        self._trace = trace

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        """Ask once; whatever way the call ends, it is counted once."""
        generation = self._trace.iteration.child(
            "generation",
            "llm",
            model=self._model,
            input=cut_messages(prompt.messages),
            metadata={"tools_offered": len(prompt.tools)},
        )
        headers = {**prompt.headers, **self._trace.forwarded, **generation.headers()}
        prompt = Prompt(prompt.messages, prompt.tools, headers)
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

    async def __call__(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """Run one turn."""
        if len(calls) > 1:
            self._metrics.parallel_tool_executions.inc(len(calls))
        else:
            self._metrics.sequential_tool_executions.inc(len(calls))
        strategy = "parallel" if len(calls) > 1 else "sequential"
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

            return await self._orchestrator.run_turn(calls, run_call)

    def _count(self, name: str, result: ToolResult, duration: float) -> None:
        metrics = self._metrics
        metrics.tool_executions.labels(name, result.status).inc()
        metrics.tool_execution_duration.labels(name).observe(duration)
        if result.blocked is not None:
            metrics.sandbox_security_blocks.labels(result.blocked).inc()
            metrics.errors.labels(result.blocked, "sandbox").inc()
        if result.status == "timeout":
            metrics.sandbox_timeouts.labels(name).inc()
            metrics.errors.labels("timeout", "sandbox").inc()


class ObservedCache:
    """A cache whose hits, misses and invalidations are counted. Used from many threads."""

    def __init__(
        self, cache: ResultCache[Execution], cache_type: CacheType, metrics: Metrics
    ) -> None:
        """Wrap `cache`, to be counted as `cache_type`."""
        self._cache = cache
        self._type = cache_type
        self._metrics = metrics

    def get(self, key: str, state: State) -> Hit[Execution] | Miss:
        """Ask the cache."""
        started = time.perf_counter()
        known = self._cache.get(key, state)
        self._count("get", "hit" if isinstance(known, Hit) else "miss", started)
        if isinstance(known, Miss) and known.stale is not None:
            self._metrics.cache_invalidations.labels(self._type, known.stale).inc()
        return known

    def put(self, key: str, state: State, value: Execution, value_bytes: int) -> bool:
        """Fill the cache."""
        started = time.perf_counter()
        held = self._cache.put(key, state, value, value_bytes)
        self._count("set", "hit" if held else "miss", started)
        return held

    def clear(self) -> int:
        """Empty the cache; every entry counts as invalidated by hand."""
        started = time.perf_counter()
        count = self._cache.clear()
        self._count("delete", "hit" if count else "miss", started)
        self._metrics.cache_invalidations.labels(self._type, Change.MANUAL).inc(count)
        return count

    def _count(self, operation: str, result: str, started: float) -> None:
        self._metrics.cache_operation_duration.labels(operation, self._type).observe(
            time.perf_counter() - started
        )
        self._metrics.cache_operations.labels(operation, self._type, result).inc()


def observe_commands(
    execute: Callable[[Tool, Opened, Output], Execution], metrics: Metrics
) -> Callable[[Tool, Opened, Output], Execution]:
    """Wrap the running of commands, to count and time those that really ran."""

    def observed(tool: Tool, opened: Opened, output: Output) -> Execution:
        started = time.perf_counter()
        execution = execute(tool, opened, output)
        duration = time.perf_counter() - started
        metrics.sandbox_execution_duration.labels(tool.name).observe(duration)
        metrics.sandbox_executions.labels(tool.name, execution.status).inc()
        return execution

    return observed
