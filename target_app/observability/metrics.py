"""
Every Prometheus metric of the app, in a registry of its own.

Each app makes its own instance, so two of them in one process never add up. Every label
combination that is known in advance exists from the start: then "none so far" is 0 on the page,
and not an absence that could also mean a broken exporter. Durations are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from target_app.agent.llm import LLMError
from target_app.agent.messages import Ending, Usage
from target_app.agent.tools import CACHE_TYPES, TOOLS, CacheType
from target_app.cache.state import Change
from target_app.sandbox.commands import COMMANDS
from target_app.sandbox.result import BLOCKS, STATUSES

LADDER = (
    0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.113, 0.16, 0.226, 0.32, 0.453, 0.64, 0.905,
    1.28, 1.81, 2.56, 3.62, 5.12, 7.24, 10.2, 14.5, 20.5, 30.0,
)  # fmt: skip
"""Each edge about the square root of 2 above the one before: a known relative error."""

HTTP_EDGES = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30)
AGENT_EDGES = (0.1, 0.5, 1, 2, 5, 10, 30, 60)
LLM_EDGES = (0.1, 0.5, 1, 2, 5, 10, 20)
TOOL_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
SANDBOX_EDGES = (*TOOL_EDGES, 30)
CACHE_EDGES = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5)
TOKEN_EDGES = (10, 50, 100, 250, 500, 1000, 2000, 4000, 8000, 16000)
ITERATION_EDGES = (1, 2, 3, 4, 5, 7, 10)
MESSAGE_EDGES = (1, 2, 5, 10, 20, 50)
WAIT_EDGES = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 30)
SIZE_EDGES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)

MISS_REASONS = ("absent", "file_change", "directory_change", "ttl_expired", "in_flight")
"""Why a cache had no answer; in flight: another call was finding it out already."""

TOKEN_TYPES = ("input", "output", "total")
UNKNOWN_TOOL = "unknown"
"""The label of whatever name the LLM made up: names of its making must not become series."""

KNOWN_ERRORS = (
    *((kind, "llm") for kind in LLMError.KINDS),
    ("usage_missing", "llm"),
    *((block, "sandbox") for block in BLOCKS),
    ("timeout", "sandbox"),
    ("unavailable", "sandbox"),
    ("internal", "sandbox"),
    ("client_disconnected", "agent"),
    ("internal", "agent"),
)
"""Pairs of error_type and component that this app can count."""


class SizedStore(Protocol):
    """Something that knows how much it holds."""

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        ...

    def __len__(self) -> int:
        """Entries held now."""
        ...


class Metrics:
    """The metrics, one attribute each, under the names that dashboards and alerts use."""

    def __init__(self, http_edges: Iterable[float] = ()) -> None:
        """Make every metric; `http_edges` (seconds) are added to those of HTTP durations."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._make_http(http_edges)
        self._make_agent()
        self._make_tools()
        self._make_cache()
        self._make_children()

    def _make_http(self, edges: Iterable[float]) -> None:
        registry = self.registry
        self.app_info = Info("app", "What is running.", registry=registry)
        self.http_requests = Counter(
            "http_requests_total",
            "Requests answered, or aborted by the client.",
            ["method", "endpoint", "status"],
            registry=registry,
        )
        self.http_request_duration = Histogram(
            "http_request_duration_seconds",
            "From the arrival of a request to the last piece of its answer.",
            ["method", "endpoint"],
            buckets=_edges(LADDER, HTTP_EDGES, edges),
            registry=registry,
        )
        self.http_request_size = Histogram(
            "http_request_size_bytes",
            "Body of a request.",
            ["method", "endpoint"],
            buckets=SIZE_EDGES,
            registry=registry,
        )
        self.http_response_size = Histogram(
            "http_response_size_bytes",
            "Body of an answer, streamed or not.",
            ["method", "endpoint"],
            buckets=SIZE_EDGES,
            registry=registry,
        )
        self.errors = Counter(
            "errors_total", "Errors by kind.", ["error_type", "component"], registry=registry
        )

    def _make_agent(self) -> None:
        registry = self.registry
        self.agent_iterations = Histogram(
            "agent_iterations_total",
            "LLM calls it took to end a chat.",
            buckets=ITERATION_EDGES,
            registry=registry,
        )
        self.agent_completions = Counter(
            "agent_completions_total", "Chats that ended.", ["status"], registry=registry
        )
        self.agent_execution_duration = Histogram(
            "agent_execution_duration_seconds",
            "From the first LLM call of a chat to its end.",
            ["status"],
            buckets=_edges(LADDER, AGENT_EDGES),
            registry=registry,
        )
        self.llm_calls = Counter("llm_calls_total", "LLM calls.", ["status"], registry=registry)
        self.llm_call_duration = Histogram(
            "llm_call_duration_seconds",
            "LLM calls, from sending to the last piece of the answer.",
            buckets=_edges(LADDER, LLM_EDGES),
            registry=registry,
        )
        self.llm_tokens = Counter(
            "llm_tokens_total",
            "Tokens by the LLM's own count; total is the sum of input and output.",
            ["type"],
            registry=registry,
        )
        self.llm_tokens_per_request = Histogram(
            "llm_tokens_per_request",
            "Tokens of one LLM call.",
            ["type"],
            buckets=TOKEN_EDGES,
            registry=registry,
        )
        self.active_sessions = Gauge(
            "active_sessions_total", "Sessions kept in memory.", registry=registry
        )
        self.session_messages = Histogram(
            "session_messages_total",
            "Messages in a session after a chat.",
            buckets=MESSAGE_EDGES,
            registry=registry,
        )

    def _make_tools(self) -> None:
        registry = self.registry
        self.tool_executions = Counter(
            "tool_executions_total",
            "Tool calls, answered from the cache or not.",
            ["tool_name", "status"],
            registry=registry,
        )
        self.tool_execution_duration = Histogram(
            "tool_execution_duration_seconds",
            "Tool calls, answered from the cache or not.",
            ["tool_name"],
            buckets=TOOL_EDGES,
            registry=registry,
        )
        self.parallel_tool_executions = Counter(
            "parallel_tool_executions_total",
            "Tool calls of turns with two calls or more.",
            registry=registry,
        )
        self.sequential_tool_executions = Counter(
            "sequential_tool_executions_total", "Tool calls alone in a turn.", registry=registry
        )
        self.tool_semaphore_wait = Histogram(
            "tool_semaphore_wait_seconds",
            "How long tool calls waited for others to end, before they began.",
            buckets=WAIT_EDGES,
            registry=registry,
        )
        self.sandbox_isolation = Info(
            "sandbox_isolation", "How commands are kept apart.", registry=registry
        )
        self.sandbox_worker_restarts = Counter(
            "sandbox_worker_restarts_total",
            "Sandbox processes that were replaced.",
            registry=registry,
        )
        self.sandbox_executions = Counter(
            "sandbox_executions_total",
            "Commands that really ran.",
            ["command", "status"],
            registry=registry,
        )
        self.sandbox_wait = Histogram(
            "sandbox_wait_seconds",
            "How long commands waited for a place to run in, with the way there and back.",
            ["command"],
            buckets=SANDBOX_EDGES,
            registry=registry,
        )
        self.sandbox_execution_duration = Histogram(
            "sandbox_execution_duration_seconds",
            "Commands that really ran, without their wait.",
            ["command"],
            buckets=SANDBOX_EDGES,
            registry=registry,
        )
        self.sandbox_output_size = Histogram(
            "sandbox_output_size_bytes",
            "Output of commands that really ran.",
            ["command"],
            buckets=SIZE_EDGES,
            registry=registry,
        )
        self.sandbox_timeouts = Counter(
            "sandbox_timeouts_total",
            "Commands stopped at their deadline.",
            ["command"],
            registry=registry,
        )
        self.sandbox_security_blocks = Counter(
            "sandbox_security_blocks_total",
            "Tool calls refused by a rule.",
            ["block_type"],
            registry=registry,
        )

    def _make_cache(self) -> None:
        registry = self.registry
        self.cache_operations = Counter(
            "cache_operations_total",
            "Uses of the caches. A set that is a miss was not kept.",
            ["operation", "cache_type", "result"],
            registry=registry,
        )
        self.cache_operation_duration = Histogram(
            "cache_operation_duration_seconds",
            "Uses of the caches.",
            ["operation", "cache_type"],
            buckets=CACHE_EDGES,
            registry=registry,
        )
        self.cache_invalidations = Counter(
            "cache_invalidations_total",
            "Entries dropped because they are or may be untrue.",
            ["cache_type", "reason"],
            registry=registry,
        )
        self.cache_misses = Counter(
            "cache_misses_total",
            "Questions that a cache could not answer.",
            ["cache_type", "reason"],
            registry=registry,
        )
        self.cache_evictions = Counter(
            "cache_evictions_total",
            "True entries dropped to make room.",
            ["cache_type", "tier"],
            registry=registry,
        )
        self.cache_saved = Counter(
            "cache_saved_seconds_total",
            "Time the commands took whose results were answered from a cache.",
            ["cache_type"],
            registry=registry,
        )
        self.cache_size = Gauge(
            "cache_size_bytes", "Bytes held.", ["cache_type"], registry=registry
        )
        self.cache_entries = Gauge(
            "cache_entries_total", "Entries held.", ["cache_type"], registry=registry
        )

    def _make_children(self) -> None:
        """Create every label combination known in advance."""
        for ending in Ending:
            self.agent_completions.labels(ending)
            self.agent_execution_duration.labels(ending)
        for status in ("success", "error"):
            self.llm_calls.labels(status)
        # Kept, because finding a label takes longer than counting.
        self._token_children = tuple(
            (self.llm_tokens.labels(kind), self.llm_tokens_per_request.labels(kind))
            for kind in TOKEN_TYPES
        )
        for name in (*TOOLS, UNKNOWN_TOOL):
            self.tool_execution_duration.labels(name)
            for status in STATUSES:
                self.tool_executions.labels(name, status)
        for name in COMMANDS:
            self._make_sandbox_children(name)
        for block in BLOCKS:
            self.sandbox_security_blocks.labels(block)
        for cache_type in CACHE_TYPES:
            self._make_cache_children(cache_type)
        for error_type, component in KNOWN_ERRORS:
            self.errors.labels(error_type, component)

    def _make_sandbox_children(self, command: str) -> None:
        self.sandbox_wait.labels(command)
        self.sandbox_execution_duration.labels(command)
        self.sandbox_output_size.labels(command)
        self.sandbox_timeouts.labels(command)
        for status in STATUSES:
            self.sandbox_executions.labels(command, status)

    def _make_cache_children(self, cache_type: CacheType) -> None:
        for operation in ("get", "set", "delete"):
            self.cache_operation_duration.labels(operation, cache_type)
            for result in ("hit", "miss", "error"):
                self.cache_operations.labels(operation, cache_type, result)
        for change in Change:
            self.cache_invalidations.labels(cache_type, change)
        for reason in MISS_REASONS:
            self.cache_misses.labels(cache_type, reason)
        for tier in ("memory", "disk"):
            self.cache_evictions.labels(cache_type, tier)
        self.cache_saved.labels(cache_type)

    def count_usage(self, usage: Usage) -> None:
        """Count the tokens of one LLM call."""
        amounts = (usage.all_input, usage.all_output, usage.total)
        for (total, per_call), amount in zip(self._token_children, amounts, strict=True):
            total.inc(amount)
            per_call.observe(amount)

    def watch_sessions(self, sessions: Sized) -> None:
        """Read the number of sessions whenever the metrics are read."""
        self.active_sessions.set_function(lambda: float(len(sessions)))

    def watch_caches(self, caches: Iterable[tuple[str, SizedStore]]) -> None:
        """Read the sizes of the caches whenever the metrics are read."""
        for cache_type, cache in caches:
            self.cache_size.labels(cache_type).set_function(_bytes_of(cache))
            self.cache_entries.labels(cache_type).set_function(_entries_of(cache))


def _edges(*groups: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted({float(edge) for group in groups for edge in group}))


def _bytes_of(cache: SizedStore) -> Callable[[], float]:
    return lambda: float(cache.size_bytes)


def _entries_of(cache: SizedStore) -> Callable[[], float]:
    return lambda: float(len(cache))
