"""Metrics of chats and of sessions."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from target_app.agent.messages import Ending
from target_app.observability.metrics.edges import (
    AGENT_EDGES,
    ITERATION_EDGES,
    LADDER,
    MESSAGE_EDGES,
    union,
)


class AgentGroup:
    """What is told of chats, whatever way they end."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the metrics and all their children."""
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
            buckets=union(LADDER, AGENT_EDGES),
            registry=registry,
        )
        self.active_sessions = Gauge(
            "active_sessions_total",
            "Sessions kept in memory.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.session_messages = Histogram(
            "session_messages_total",
            "Messages in a session after a chat.",
            buckets=MESSAGE_EDGES,
            registry=registry,
        )
        for ending in Ending:
            self.agent_completions.labels(ending)
            self.agent_execution_duration.labels(ending)
