"""Metrics of LLM calls: time, tokens, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from target_app.agent.messages import Usage
from target_app.observability.metrics.edges import (
    DISCREPANCY_EDGES,
    LADDER,
    LLM_EDGES,
    TOKEN_EDGES,
    union,
)

TOKEN_TYPES = ("input", "output", "total")
UNPRICED = "unpriced"
"""The label of every model that the price list does not name."""


class LLMGroup:
    """What is told of LLM calls, each attempt one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the metrics and all children but those of models, see `know_models`."""
        self.llm_calls = Counter("llm_calls_total", "LLM calls.", ["status"], registry=registry)
        self.llm_call_duration = Histogram(
            "llm_call_duration_seconds",
            "LLM calls, from sending to the last piece of the answer.",
            buckets=union(LADDER, LLM_EDGES),
            registry=registry,
        )
        self.llm_tokens = Counter(
            "llm_tokens_total",
            "Tokens by the LLM's own count, else estimated; total is input and output.",
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
        self.llm_cost = Counter(
            "llm_cost_usd_total",
            "Cost of LLM calls by the price list, in US dollars.",
            ["model"],
            registry=registry,
        )
        self.llm_usage_estimated = Counter(
            "llm_usage_estimated_total",
            "LLM calls whose tokens were estimated, as the answer did not tell them.",
            registry=registry,
        )
        self.llm_tokens_checked = Counter(
            "llm_tokens_checked_total",
            "Tokens of the LLM calls that were counted twice, by either count.",
            ["type", "source"],
            registry=registry,
        )
        self.llm_token_discrepancy = Histogram(
            "llm_token_discrepancy_ratio",
            "How far the tokenizer's count of a call is from the LLM's own, as a share of that.",
            buckets=DISCREPANCY_EDGES,
            registry=registry,
        )
        for status in ("success", "error"):
            self.llm_calls.labels(status)
        for kind in ("input", "output"):
            for source in ("usage", "tokenizer"):
                self.llm_tokens_checked.labels(kind, source)
        # Kept, because finding a label takes longer than counting.
        self._token_children = tuple(
            (self.llm_tokens.labels(kind), self.llm_tokens_per_request.labels(kind))
            for kind in TOKEN_TYPES
        )

    def count_usage(self, usage: Usage) -> None:
        """Count the tokens of one LLM call."""
        asked, answered = usage.all_input, usage.all_output
        amounts = (asked, answered, asked + answered)
        for (total, per_call), amount in zip(self._token_children, amounts, strict=True):
            total.inc(amount)
            per_call.observe(amount)

    def know_models(self, names: Iterable[str]) -> None:
        """Have a cost of 0 for each model of the price list, and for all others together."""
        for name in (*names, UNPRICED):
            self.llm_cost.labels(name)
