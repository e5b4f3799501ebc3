from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from harness.report.junit import junit


def cases(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, str]]:
    """Every testcase, and what is said in it, by tag."""
    return {
        (c.attrib["classname"], c.attrib["name"]): {e.tag: e.attrib["message"] for e in c}
        for c in ET.fromstring(junit(document)).iter("testcase")
    }


def test_gates_fail_and_tracked_objectives_are_skipped(document: dict[str, Any]) -> None:
    assert cases(document) == {
        ("gate.warm_cache", "hit_rate (>= 80%)"): {"failure": "missed: metrics: 10 % of 400"},
        ("gate.warm_cache", "chat_p95 (p95 <= 5s)"): {},
        ("tracked.warm_cache", "cost (<= 0.002)"): {
            "skipped": "inconclusive: no data from langfuse: it is down"
        },
        ("tracked.warm_cache", "blocks (<= 0)"): {},
    }


def test_an_inconclusive_gate_is_an_error(document: dict[str, Any]) -> None:
    document["verdicts"][0].update(status="inconclusive", reason="too few")
    assert cases(document)["gate.warm_cache", "chat_p95 (p95 <= 5s)"] == {
        "error": "inconclusive: too few"
    }


def test_missing_witnesses_and_contradictions_are_errors(disputed: dict[str, Any]) -> None:
    missing = "the metrics witness is missing in cold_cache: answered 503"
    found = cases(disputed)
    assert found["missing", missing] == {"error": missing}
    assert found["agreement.warm_cache", "client and langfuse on requests"] == {
        "error": "client counts 20 more"
    }
    assert found["agreement.warm_cache", "client and langfuse on LLM calls"] == {
        "error": "40 more"
    }
    assert len(found) == 7


def test_totals_properties_and_sentence(disputed: dict[str, Any]) -> None:
    root = ET.fromstring(junit(disputed))
    totals = {"tests": "7", "failures": "1", "errors": "3", "skipped": "1"}
    assert root.attrib == totals
    suite = root[0]
    assert suite.attrib == {"name": "harness 20260921-100000-cafe", **totals}
    assert [p.attrib for p in suite.iter("property")] == [
        {"name": "LLM", "value": "stand-in: simulated"},
        {"name": "app", "value": "real: the target"},
    ]
    assert suite.findtext("system-out") == disputed["sentence"]


def test_control_characters_and_markup_leave_it_well_formed(document: dict[str, Any]) -> None:
    document["verdicts"][3]["reason"] = "\x1b[31m<b> & \x00 \U0001f600"
    assert cases(document)["gate.warm_cache", "hit_rate (>= 80%)"] == {
        "failure": "missed: \ufffd[31m<b> & \ufffd \U0001f600"
    }


def test_what_was_not_measured_follows_the_sentence(measured: dict[str, Any]) -> None:
    assert ET.fromstring(junit(measured))[0].findtext("system-out") == (
        "Missed: the gate hit_rate was not kept. metrics: 10 % of 400.\n"
        "Not measured, and so not judged: middleware_cpu."
    )
    assert cases(measured)["tracked.all", "tracing_p95_added (<= 5%)"] == {}
