"""summary.md: the verdicts as GitHub-flavoured Markdown, short enough for a CI job's page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from harness.report import figures
from harness.report.verdicts import GRAVEST_FIRST, by_gravity, disputes

_SIGNS = {"met": "✅", "missed": "❌", "inconclusive": "❔"}


def summary(document: Mapping[str, Any]) -> str:
    """Write the sentence, what is missing, the gates, the rest, and what was real."""
    verdicts = by_gravity(document["verdicts"])
    gates = [v for v in verdicts if v["objective"]["gate"]]
    tracked = [v for v in verdicts if not v["objective"]["gate"]]
    run = document["run"]
    blocks = [
        f"# {_SIGNS[document['status']]} {_cell(document['sentence'])}",
        f"Run {_code(run['id'])} of {_code(run['target'])}, exit code {document['exit_code']}.",
        _problems(document),
        _notices(document),
        _table("Gates", gates),
        _table("Tracked", tracked),
        *(_cell(sentence) for sentence in document["unmeasured"]),
        *map(_benchmark, document["benchmarks"]),
        f"**Agreement of the witnesses:** {_agreements(document['agreements'])}.",
        _parts(run["parts"]),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _problems(document: Mapping[str, Any]) -> str:
    lines = [f"- Missing: {_cell(sentence)}" for sentence in document["missing"]]
    for dispute in disputes(document):
        first, more = dispute[0], len(dispute) - 1
        one, other = first["witnesses"]
        lines.append(
            f"- {first['finding'].capitalize()} in {_cell(first['window'])}, {one} and {other}, "
            f"{first['about']}: {_cell(first['reason'])}" + (f" (and {more} more)" if more else "")
        )
    return "\n".join(lines)


def _notices(document: Mapping[str, Any]) -> str:
    """Say how the load went where that is no fault of it."""
    return "\n".join(
        f"- In {_cell(w['name'])}, {_cell(notice)}"
        for w in document["windows"]
        for notice in w["notices"]
    )


def _table(title: str, verdicts: Iterable[Mapping[str, Any]]) -> str:
    rows = [_row(v) for v in verdicts]
    if not rows:
        return ""
    head = ["| Verdict | Objective | Scenario | Promise | Measured | Why |", "|---" * 6 + "|"]
    return "\n".join([f"## {title}", "", *head, *rows])


def _row(verdict: Mapping[str, Any]) -> str:
    objective = verdict["objective"]
    seen = "; ".join(
        f"{m['witness']} {figures.measured(m, objective['indicator'])}"
        for m in verdict["measurements"]
    )
    cells = (
        f"{_SIGNS[verdict['status']]} {verdict['status']}",
        _code(objective["name"]),
        _cell(objective["scenario"]),
        _cell(figures.promise(objective)),
        _cell(seen),
        _cell(verdict["reason"]) if verdict["status"] != "met" else "",
    )
    return f"| {' | '.join(cells)} |"


def _benchmark(benchmark: Mapping[str, Any]) -> str:
    """Say when and on what a benchmark's figures were measured."""
    on = ", ".join(f"{name} {value}" for name, value in benchmark["machine"].items())
    facts = f"Figures of the benchmark {benchmark['name']} are of {benchmark['measured_at']}, {on}"
    return _cell(". ".join((facts, *benchmark["differences"])) + ".")


def _agreements(agreements: Iterable[Mapping[str, Any]]) -> str:
    counts = Counter(a["finding"] for a in agreements)
    found = [f"{counts[f]} {f}" for f in reversed(GRAVEST_FIRST) if counts[f]]
    return ", ".join(found) or "nothing could be compared"


def _parts(parts: Iterable[Mapping[str, Any]]) -> str:
    named = {
        word: ", ".join(
            f"{_cell(p['name'])} ({_cell(p['description'])})" for p in parts if p["real"] is real
        )
        for word, real in (("Real", True), ("Stand-ins", False))
    }
    return " ".join(f"**{word}:** {names}." for word, names in named.items() if names)


def _cell(text: str) -> str:
    """Keep text from becoming markup or another cell."""
    flat = " ".join(text.split())
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        flat = flat.replace(sign, written)
    return flat.replace("*", "\\*").replace("_", "\\_").replace("`", "\\`")


def _code(text: str) -> str:
    flat = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{flat}`"
