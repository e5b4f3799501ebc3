"""What the metrics API can measure of one observation; None where there is nothing to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from harness.stack.langfuse.pricing import sum_of_kind
from harness.stack.langfuse.rows import Row

Measure = Callable[[Row], float | None]


def _latency_ms(row: Row) -> float | None:
    return None if row.end_ms is None else row.end_ms - row.start_ms


def _first_token_at_ms(row: Row) -> int | None:
    text = row.fields["completionStartTime"]
    if not isinstance(text, str):
        return None
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _time_to_first_token_ms(row: Row) -> float | None:
    first = _first_token_at_ms(row)
    return None if first is None else first - row.start_ms


def _streaming_latency_ms(row: Row) -> float | None:
    first = _first_token_at_ms(row)
    return None if first is None or row.end_ms is None else row.end_ms - first


def _per_second(amount: float, start_ms: int | None, end_ms: int | None) -> float | None:
    """
    Divide by the whole seconds that passed; None when none did.

    The server counts the second marks between the two instants, so 103 ms may be 0 s or 1 s.
    """
    if start_ms is None or end_ms is None:
        return None
    seconds = end_ms // 1000 - start_ms // 1000
    return amount / seconds if seconds else None


def _field(name: str) -> Measure:
    def measure(row: Row) -> float | None:
        value: Any = row.fields[name]
        return None if value is None else value

    return measure


def _cost_of_kind(kind: str) -> Measure:
    def measure(row: Row) -> float:
        cost: Any = row.fields["costDetails"]
        return sum_of_kind(cost, kind)

    return measure


def _tokens_per_second(row: Row) -> float | None:
    total: Any = row.fields["totalUsage"]
    return _per_second(total, row.start_ms, row.end_ms)


def _output_tokens_per_second(row: Row) -> float | None:
    output: Any = row.fields["outputUsage"]
    return _per_second(output, _first_token_at_ms(row), row.end_ms)


MEASURES: Mapping[str, Measure] = {
    "count": lambda _row: 1,
    "latency": _latency_ms,
    "timeToFirstToken": _time_to_first_token_ms,
    "streamingLatency": _streaming_latency_ms,
    "inputTokens": _field("inputUsage"),
    "outputTokens": _field("outputUsage"),
    "totalTokens": _field("totalUsage"),
    "inputCost": _cost_of_kind("input"),
    "outputCost": _cost_of_kind("output"),
    "totalCost": _field("totalCost"),
    "tokensPerSecond": _tokens_per_second,
    "outputTokensPerSecond": _output_tokens_per_second,
}
