from __future__ import annotations

from typing import Any

from harness.report.summary import summary

WHOLE = """\
# ❌ Missed: the gate hit\\_rate was not kept. metrics: 10 % of 400.

Run `20260921-100000-cafe` of `http://127.0.0.1:8000`, exit code 1.

## Gates

| Verdict | Objective | Scenario | Promise | Measured | Why |
|---|---|---|---|---|---|
| ❌ missed | `hit_rate` | warm\\_cache | ≥ 80 % | metrics 10 % | metrics: 10 % of 400 |
| ✅ met | `chat_p95` | warm\\_cache | p95 ≤ 5 s | client 540 ms; metrics 500 ms to 1 s |  |

## Tracked

| Verdict | Objective | Scenario | Promise | Measured | Why |
|---|---|---|---|---|---|
| ❔ inconclusive | `cost` | warm\\_cache | ≤ 0.002 USD | langfuse — | it is down |
| ✅ met | `blocks` | warm\\_cache | ≤ 0 | metrics 0 |  |

**Agreement of the witnesses:** 2 agree.

**Real:** app (the target). **Stand-ins:** LLM (simulated).
"""


def test_the_whole_summary(document: dict[str, Any]) -> None:
    document["verdicts"][2]["reason"] = "it is down"
    assert summary(document) == WHOLE


def test_missing_witnesses_and_disputes_follow_the_sentence(disputed: dict[str, Any]) -> None:
    assert """\
- Missing: the metrics witness is missing in cold\\_cache: answered 503
- Contradiction in warm\\_cache, client and langfuse, requests: client counts 20 more (and 1 more)
""" in summary(disputed)
    assert "2 agree, 2 contradiction." in summary(disputed)


def test_text_of_others_stays_in_its_cell(document: dict[str, Any]) -> None:
    document["verdicts"][3]["reason"] = "a | b\n<script> *c*"
    document["run"]["target"] = "x`|`y"
    text = summary(document)
    assert "| a \\| b &lt;script&gt; \\*c\\* |" in text
    assert "of `x'\\|'y`," in text


def test_nothing_to_compare(document: dict[str, Any]) -> None:
    document.update(agreements=[], verdicts=[])
    assert "**Agreement of the witnesses:** nothing could be compared." in summary(document)
    assert "## " not in summary(document)


def test_figures_measured_before_the_run(measured: dict[str, Any]) -> None:
    assert """\
| ✅ met | `tracing_p95_added` | all | ≤ 5 % | benchmark \N{MINUS SIGN}1 to 3 % |  |

Not measured, and so not judged: middleware\\_cpu.

Figures of the benchmark observability are of 2026-11-22T07:00:00Z, cpus 8. cpus was 8 when it was \
measured and is 2 in this run.
""" in summary(measured)


def test_how_the_load_went_is_told(document: dict[str, Any]) -> None:
    document["windows"][0]["notices"] = ["the sending was stopped: --max-requests 9 was reached"]
    assert (
        "\n- In warm\\_cache, the sending was stopped: --max-requests 9 was reached\n"
    ) in summary(document)
