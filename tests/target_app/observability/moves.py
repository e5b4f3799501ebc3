"""What each kind of event in the app moves, as series of its metrics and by how much."""

from __future__ import annotations

from typing import Any

import pytest

from tests.target_app.exposition import Series
from tests.target_app.scripted import (
    CALL_USD,
)

# What one event of each kind moves.


def http(status: int | str = 200, route: str = "/api/chat", method: str = "POST") -> Series:
    labels = f"endpoint={route} method={method}"
    return {
        f"http_requests_total {labels} status={status}": 1,
        f"http_request_duration_seconds_count {labels}": 1,
        f"http_request_size_bytes_count {labels}": 1,
        f"http_response_size_bytes_count {labels}": 1,
    }


def chat(ending: str = "success", iterations: int = 1) -> Series:
    """
    A chat that ended so, and is not traced.

    Only one with an answer is remembered in its session.
    """
    moves: Series = {
        "traces_total result=switched_off": 1,
        f"agent_completions_total status={ending}": 1,
        f"agent_execution_duration_seconds_count status={ending}": 1,
        "agent_iterations_total_count": 1,
        "agent_iterations_total_sum": iterations,
    }
    if ending == "error":
        return moves
    return moves | {
        "session_messages_total_count": 1,
        "session_messages_total_sum": 2,
        "active_sessions_total": 1,
    }


def llm_calls(count: int = 1) -> Series:
    """Calls that were answered, each with the usage of the scripted LLM."""
    return llm_tokens(count) | {
        "llm_calls_total status=success": count,
        "llm_call_duration_seconds_count": count,
    }


def llm_tokens(count: int = 1) -> Series:
    moves: Series = {"llm_cost_usd_total model=scripted": pytest.approx(count * CALL_USD)}
    for kind, tokens in (("input", 100), ("output", 10), ("total", 110)):
        moves |= {
            f"llm_tokens_total type={kind}": count * tokens,
            f"llm_tokens_per_request_count type={kind}": count,
            f"llm_tokens_per_request_sum type={kind}": count * tokens,
        }
    return moves


def llm_failures(kind: str, count: int = 1) -> Series:
    return {
        "llm_calls_total status=error": count,
        "llm_call_duration_seconds_count": count,
        f"errors_total component=llm error_type={kind}": count,
    }


def tool(name: str, status: str = "success", count: int = 1) -> Series:
    return {
        f"tool_executions_total status={status} tool_name={name}": count,
        f"tool_execution_duration_seconds_count tool_name={name}": count,
        "tool_semaphore_wait_seconds_count": count,
    }


ALONE: Series = {"sequential_tool_executions_total": 1}


def command(name: str, output: str | int, status: str = "success") -> Series:
    size = output if isinstance(output, int) else len(output)
    moves: Series = {
        f"sandbox_wait_seconds_count command={name}": 1,
        f"sandbox_executions_total command={name} status={status}": 1,
        f"sandbox_execution_duration_seconds_count command={name}": 1,
        f"sandbox_output_size_bytes_count command={name}": 1,
    }
    return moves | ({f"sandbox_output_size_bytes_sum command={name}": size} if size else {})


def stopped(name: str) -> Series:
    """A command that did not end in time."""
    timeouts: Series = {f"sandbox_timeouts_total command={name}": 1}
    return total(command(name, 0, "timeout"), timeouts, error("timeout"))


def cache(operation: str, cache_type: str, result: str, count: int = 1) -> Series:
    labels = f"cache_type={cache_type} operation={operation}"
    return {
        f"cache_operations_total {labels} result={result}": count,
        f"cache_operation_duration_seconds_count {labels}": count,
    }


def missed(cache_type: str, reason: str = "absent") -> Series:
    return total(
        cache("get", cache_type, "miss"),
        {f"cache_misses_total cache_type={cache_type} reason={reason}": 1},
    )


def kept(cache_type: str, *, new: bool = True) -> Series:
    """A result that is kept: in memory and on disk, where it may replace another."""
    if not new:
        return cache("set", cache_type, "hit")
    entries: Series = {
        f"cache_entries_total cache_type={cache_type}": 1,
        "cache_entries_total cache_type=disk": 1,
    }
    return total(cache("set", cache_type, "hit"), entries)


def remembered(cache_type: str, count: int = 1) -> Series:
    return total(
        cache("get", cache_type, "hit", count),
        {f"cache_saved_seconds_total cache_type={cache_type}": SOME},
    )


def invalidated(cache_type: str, reason: str) -> Series:
    return {f"cache_invalidations_total cache_type={cache_type} reason={reason}": 1}


def error(kind: str, component: str = "sandbox") -> Series:
    return {f"errors_total component={component} error_type={kind}": 1}


def blocked(kind: str) -> Series:
    return total(error(kind), {f"sandbox_security_blocks_total block_type={kind}": 1})


class _Some:
    """Equal to any increase: for what takes as long as it takes."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and other > 0

    def __hash__(self) -> int:
        return 0


SOME: Any = _Some()


def total(*parts: Series) -> Series:
    moves: Series = {}
    for part in parts:
        for name, value in part.items():
            moves[name] = moves[name] + value if name in moves else value
    return moves


# What is done with the app.
