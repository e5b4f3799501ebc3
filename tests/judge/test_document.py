"""verdicts.json holds plain values only, and the same evidence gives the same ones."""

from __future__ import annotations

import json
import math

import pytest

from harness.judge.document import EXIT_CODES, document
from harness.judge.latencies import Quantile
from harness.model import (
    Account,
    Agreement,
    Ask,
    BoundCheck,
    Finding,
    Indicator,
    Interval,
    Judgement,
    Kind,
    Measurement,
    Objective,
    Run,
    Status,
    Verdict,
    Window,
)

WARM = Window("warm", ("warm",), 0.0, 10.0)
OBJECTIVE = Objective(
    "p95", "Fast.", "warm", Indicator("p95", Kind.LATENCY, {"client": Ask("ttft")}, 0.95, 5.0),
    0.95, "p95 <= 5s",
)  # fmt: skip
MEASURED = Measurement("client", Interval(0.9, 1 / 3 + 2 / 3), 30, "ttft of warm",
                       quantile=Interval(1.0, math.inf))  # fmt: skip
AGREEMENT = Agreement(
    "warm", "request time", ("client", "metrics"), Finding.AGREE, "yes", (1 / 3, None), 0.05,
    (BoundCheck(math.inf, 1, 1, 1, 1, holds=True),),
)  # fmt: skip


def written(status: Status = Status.MET) -> dict[str, object]:
    return document(
        Run("id", 1.0, "http://t", "harness run", (), {}, {}, ("warm",)),
        [{"name": "warm", "scenarios": ("warm",)}],
        Judgement(
            status,
            "So it is.",
            (Verdict(OBJECTIVE, status, "because", (MEASURED,), (AGREEMENT,)),),
            (AGREEMENT,),
            ("nothing",),
        ),
        [(WARM, Account("client", requests=3)), (WARM, Account("langfuse", cost_usd=0.1))],
        {"warm": 0.2},
        [Quantile("warm", "client", "ttft", 0.5, 30, Interval.exactly(0.5), (None, math.inf))],
        [],
        {"slo": "slo.yaml (sha256 ...)"},
    )


def test_it_says_everything_in_plain_values():
    found = json.loads(json.dumps(written(), allow_nan=False))

    assert sorted(found) == [
        "accounts", "agreements", "benchmarks", "curve", "exit_code", "missing", "promises",
        "quantiles", "run", "sentence", "status", "traces", "unmeasured", "verdicts", "version", "windows",
    ]  # fmt: skip
    assert (found["version"], found["status"], found["exit_code"]) == (1, "met", 0)
    assert (found["sentence"], found["missing"]) == ("So it is.", ["nothing"])
    verdict = found["verdicts"][0]
    assert verdict["measurements"][0]["value"] == {"low": 0.9, "high": 1.0}
    assert verdict["measurements"][0]["quantile"] == {"low": 1.0, "high": "inf"}
    assert verdict["objective"]["indicator"]["kind"] == "latency"
    assert found["agreements"][0]["values"] == [0.333333333, None]
    assert found["agreements"][0]["bounds"][0]["bound"] == "inf"
    assert found["quantiles"][0]["confidence"] == [None, "inf"]


def test_only_langfuse_has_a_recomputed_cost():
    client, langfuse = written()["accounts"]  # type: ignore[misc]

    assert "recomputed_usd" not in client
    assert (langfuse["cost_usd"], langfuse["recomputed_usd"]) == (0.1, 0.2)
    assert (client["window"], client["requests"], client["tool_calls"]) == ("warm", 3, None)


@pytest.mark.parametrize(
    ("status", "code"), [(Status.MET, 0), (Status.MISSED, 1), (Status.INCONCLUSIVE, 3)]
)
def test_exit_codes(status: Status, code: int):
    assert EXIT_CODES[status] == code
    assert written(status)["exit_code"] == code
