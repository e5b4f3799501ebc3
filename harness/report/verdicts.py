"""Read verdicts.json, the only input of every page, and find in it what a reader must know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.judge.document import VERSION
from harness.runs import RunError

WORDS = ("missed", "inconclusive", "met")
GRAVEST_FIRST = ("contradiction", "unaccounted time", "not comparable", "agree")
# What judging did not write at first: a document without them has none.
_LATER: Mapping[str, list[Any]] = {"benchmarks": [], "unmeasured": [], "traces": []}
_LATER_OF_WINDOW: Mapping[str, Any] = {
    "begun": None, "shed": 0, "not_sent": None, "may_be_lost": 0, "stopped_by": "", "notices": [],
    "spent_usd": None, "budget_usd": None,
    "generator": {"processes": [], "piece": 1.0, "moments": []},
}  # fmt: skip
_FIELDS = {
    "status", "exit_code", "sentence", "missing", "run", "promises", "windows",
    "verdicts", "agreements", "accounts", "quantiles", "curve",
}  # fmt: skip


def read_verdicts(run_directory: Path) -> dict[str, Any]:
    """Read verdicts.json; raises RunError when it is missing, damaged or of another version."""
    path = run_directory / "verdicts.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{path} does not exist; judge the run first: harness judge {run_directory}"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}") from error
    if not isinstance(document, dict):
        raise RunError(f"{path} is damaged: not an object")
    if document.get("version") != VERSION:
        raise RunError(
            f"{path} has version {document.get('version')!r}, this harness reads {VERSION}; "
            f"judge the run again: harness judge {run_directory}"
        )
    absent = sorted(_FIELDS - document.keys())
    if absent:
        raise RunError(f"{path} is damaged: it has no {', '.join(absent)}")
    windows = [{**_LATER_OF_WINDOW, **window} for window in document["windows"]]
    return {**_LATER, **document, "windows": windows}


def by_gravity(verdicts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Gates first; then the missed, the inconclusive and the met; else as in slo.yaml."""
    return sorted(verdicts, key=lambda v: (not v["objective"]["gate"], WORDS.index(v["status"])))


def gravest(agreements: Iterable[Mapping[str, Any]]) -> str | None:
    """The gravest finding among these agreements; None when nothing was compared."""
    found = {a["finding"] for a in agreements}
    return next((finding for finding in GRAVEST_FIRST if finding in found), None)


def disputes(document: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """
    Contradictions and unaccounted time, the contradictions first.

    Those of the same kind between the same two witnesses in the same window are
    one dispute, since a lost trace takes its calls and tokens with it.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for finding in GRAVEST_FIRST[:2]:
        for a in document["agreements"]:
            if a["finding"] == finding:
                groups.setdefault((finding, a["window"], *a["witnesses"]), []).append(a)
    return list(groups.values())


def witnesses(document: Mapping[str, Any]) -> list[str]:
    """Every witness that was asked anything, in the order in which they appear."""
    asked = [a["witness"] for a in document["accounts"]]
    asked += [m["witness"] for v in document["verdicts"] for m in v["measurements"]]
    return list(dict.fromkeys(asked))
