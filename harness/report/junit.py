"""junit.xml: a testcase per objective, for the test page of any CI service."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from harness.report.verdicts import by_gravity

# Control characters that XML 1.0 cannot hold, not even escaped.
_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(document: Mapping[str, Any]) -> str:
    """
    Write the verdicts as JUnit XML.

    A missed gate is a failure, an inconclusive one an error; a tracked
    objective that is not met is skipped, with the reason. Every missing witness
    and every contradiction is an error of its own.
    """
    cases = [_objective(v) for v in by_gravity(document["verdicts"])]
    cases += [_error("missing", sentence, sentence) for sentence in document["missing"]]
    cases += [
        _error(
            f"agreement.{a['window']}",
            f"{a['witnesses'][0]} and {a['witnesses'][1]} on {a['about']}",
            a["reason"],
        )
        for a in document["agreements"]
        if a["finding"] == "contradiction"
    ]
    run = document["run"]
    suite = ET.Element("testsuite", {"name": f"harness {run['id']}", **_totals(cases)})
    properties = ET.SubElement(suite, "properties")
    for part in run["parts"]:
        value = f"{'real' if part['real'] else 'stand-in'}: {part['description']}"
        ET.SubElement(properties, "property", name=_clean(part["name"]), value=_clean(value))
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = _clean(
        "\n".join((document["sentence"], *document["unmeasured"]))
    )
    root = ET.Element("testsuites", _totals(cases))
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _objective(verdict: Mapping[str, Any]) -> ET.Element:
    objective, status, reason = verdict["objective"], verdict["status"], verdict["reason"]
    name = f"{objective['name']} ({objective['promise']})"
    case = _case(f"{'gate' if objective['gate'] else 'tracked'}.{objective['scenario']}", name)
    if status == "met":
        return case
    tag = (
        {"missed": "failure", "inconclusive": "error"}[status] if objective["gate"] else "skipped"
    )
    ET.SubElement(case, tag, message=_clean(f"{status}: {reason}"))
    return case


def _error(classname: str, name: str, reason: str) -> ET.Element:
    case = _case(classname, name)
    ET.SubElement(case, "error", message=_clean(reason))
    return case


def _case(classname: str, name: str) -> ET.Element:
    return ET.Element("testcase", classname=_clean(classname), name=_clean(name))


def _totals(cases: list[ET.Element]) -> dict[str, str]:
    tags = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {name: sum(c.find(tag) is not None for c in cases) for name, tag in tags.items()}
    return {name: str(n) for name, n in {"tests": len(cases), **counts}.items()}


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
