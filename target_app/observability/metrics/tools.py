"""Metrics of tool calls and of the sandbox that commands run in."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, Info

from target_app.agent.tools import TOOLS
from target_app.observability.metrics.edges import (
    SANDBOX_EDGES,
    SIZE_EDGES,
    TOOL_EDGES,
    WAIT_EDGES,
)
from target_app.sandbox.commands import COMMANDS
from target_app.sandbox.result import BLOCKS, STATUSES

UNKNOWN_TOOL = "unknown"
"""The label of whatever name the LLM made up: names of its making must not become series."""


class ToolGroup:
    """What is told of tool calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the metrics and all their children."""
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
        for name in (*TOOLS, UNKNOWN_TOOL):
            self.tool_execution_duration.labels(name)
            for status in STATUSES:
                self.tool_executions.labels(name, status)


class SandboxGroup:
    """What is told of commands in the sandbox, and of what it refuses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the metrics and all their children."""
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
        for command in COMMANDS:
            self.sandbox_wait.labels(command)
            self.sandbox_execution_duration.labels(command)
            self.sandbox_output_size.labels(command)
            self.sandbox_timeouts.labels(command)
            for status in STATUSES:
                self.sandbox_executions.labels(command, status)
        for block in BLOCKS:
            self.sandbox_security_blocks.labels(block)
