"""verdicts.json: everything the judge has to say, as one versioned document."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from harness.judge.latencies import Quantile
from harness.model import Account, Judgement, Run, Status, Window

VERSION = 1
EXIT_CODES = {Status.MET: 0, Status.MISSED: 1, Status.INCONCLUSIVE: 3}


def document(
    run: Run,
    windows: Sequence[Mapping[str, Any]],
    judgement: Judgement,
    accounts: Sequence[tuple[Window, Account]],
    recomputed: Mapping[str, float | None],
    table: Sequence[Quantile],
    curve: Sequence[Quantile],
    promises: Mapping[str, str],
    benchmarks: Sequence[Mapping[str, Any]] = (),
    unmeasured: Sequence[str] = (),
    traces: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """
    Write a judgement as JSON-ready values; the same evidence gives the same document.

    `windows` are facts on each window, `promises` say which files were judged
    by (name and digest), `recomputed` is usage times price in USD per window,
    `benchmarks` are facts on each benchmark whose figures were judged, and
    `unmeasured` are sentences on objectives that were left out for want of one, and
    `traces` are what the traces of each window show, for people to read.
    Infinity is written as the text "inf", since JSON has no word for it.
    """
    fields: dict[str, Any] = _plain(
        {
            "version": VERSION,
            "status": judgement.status,
            "exit_code": EXIT_CODES[judgement.status],
            "sentence": judgement.sentence,
            "missing": judgement.missing,
            "run": asdict(run),
            "promises": promises,
            "windows": windows,
            "verdicts": [asdict(v) for v in judgement.verdicts],
            "agreements": [asdict(a) for a in judgement.agreements],
            "accounts": [_account(w, a, recomputed) for w, a in accounts],
            "quantiles": [asdict(q) for q in table],
            "curve": [asdict(q) for q in curve],
            "benchmarks": benchmarks,
            "unmeasured": unmeasured,
            "traces": traces,
        }
    )
    return fields


def _account(
    window: Window, account: Account, recomputed: Mapping[str, float | None]
) -> dict[str, Any]:
    counted = (
        "witness", "requests", "unanswered", "unsent", "untraced", "llm_calls", "tool_calls",
        "input_tokens", "output_tokens", "cost_usd", "null_probe_p99", "problem",
    )  # fmt: skip
    fields = {"window": window.name, **{name: getattr(account, name) for name in counted}}
    if account.witness == "langfuse":
        fields["recomputed_usd"] = recomputed.get(window.name)
    return fields


def _plain(value: Any) -> Any:
    """Turn tuples to lists and infinities to text, and round away what no clock measures."""
    if isinstance(value, float):
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
        return round(value, 9)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
