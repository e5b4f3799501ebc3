"""The verdicts for a person at a terminal: the same as in the report, in a screenful."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.report import figures
from harness.report.verdicts import by_gravity, disputes

_STYLES = {"met": "green", "missed": "bold red", "inconclusive": "yellow"}
_SIGNS = {"agree": "=", "contradiction": "!=", "unaccounted time": ">>", "not comparable": "?"}
_COUNTED = {
    "requests": "requests",
    "LLM calls": "llm_calls",
    "tool calls": "tool_calls",
    "input tokens": "input_tokens",
    "output tokens": "output_tokens",
}
_MARGIN = 2
_NO_BREAK = "\N{NO-BREAK SPACE}"
_NARROWEST = 24


def print_verdicts(document: Mapping[str, Any], console: Console) -> None:
    """
    Print gates, tracked objectives, agreements, notes and the sentence, in this order.

    Colours appear only where the console has them; every colour is a word too.
    Where a line is too long it is folded under its own beginning.
    """
    verdicts = by_gravity(document["verdicts"])
    for title, gate in (("Gates", True), ("Tracked", False)):
        own = [v for v in verdicts if v["objective"]["gate"] is gate]
        if own:
            console.print(Text(title, "bold"))
            _print_objectives(own, verdicts, console)
            console.print()
    if document["windows"]:
        _print_agreements(document, console)
        console.print()
    for sentence in document["missing"]:
        if sentence in document["sentence"]:
            continue
        _print(console, ("missing", "yellow"), sentence)
    for window in document["windows"]:
        for sentence in window["notices"]:
            _print(console, ("note", "yellow"), f"{window['name']}: {sentence}")
    for sentence in document["unmeasured"]:
        _print(console, ("note", "dim"), sentence)
    for sentence in (d for b in document["benchmarks"] for d in b["differences"]):
        _print(console, ("note", "dim"), f"{sentence}: a benchmark's figures may differ here")
    status = document["status"]
    _print(console, (status.upper(), _STYLES[status]), _without_word(document["sentence"], status))


def _print_objectives(
    shown: Sequence[Mapping[str, Any]], every: Sequence[Mapping[str, Any]], console: Console
) -> None:
    """Print a line each, and the reason below where it is not met; columns fit every verdict."""
    words = max(len(v["status"]) for v in every)
    names = max(len(v["objective"]["name"]) for v in every)
    promises = max(len(v["objective"]["promise"]) for v in every)
    before = ""
    for v in shown:
        objective, status = v["objective"], v["status"]
        indent = _MARGIN + words + 2
        head = Text(" " * _MARGIN).append(status.ljust(words), _STYLES[status])
        head.append(f"  {objective['name']:<{names}}  {objective['promise']:<{promises}}  ")
        seen = ", ".join(
            _whole(f"{m['witness']} {_seen(m, objective['indicator'])}") for m in v["measurements"]
        )
        _print_folded(console, head, seen)
        if status != "met":
            same = v["reason"] == before
            _print_folded(console, Text(" " * indent), "as above" if same else v["reason"])
        before = v["reason"]


def _seen(measurement: Mapping[str, Any], indicator: Mapping[str, Any]) -> str:
    text = figures.measured(measurement, indicator)
    # A terminal may know nothing but ASCII.
    return "no data" if text == figures.DASH else text.replace("\N{MINUS SIGN}", "-")


def _print_agreements(document: Mapping[str, Any], console: Console) -> None:
    """Print the counts of all witnesses side by side, a scenario at a time, then the disputes."""
    witnesses = list(dict.fromkeys(a["witness"] for a in document["accounts"]))
    console.print(Text("Agreement", "bold").append(f" ({' = '.join(witnesses)})", "dim"))
    names = max(len(w["name"]) for w in document["windows"])
    for window in document["windows"]:
        name = window["name"]
        head = Text(f"{' ' * _MARGIN}{name:<{names}}  ")
        shed = [_whole(f"{window['shed']:,} shed")] if window["shed"] else []
        _print_folded(console, head, ", ".join([*_counts(document, name), *shed]))
        for dispute in disputes(document):
            first, more = dispute[0], len(dispute) - 1
            if first["window"] == name:
                one, other = first["witnesses"]
                finding = Text(" " * len(head)).append(f"{first['finding']}: ", "yellow")
                tail = f" (and {more} more)" if more else ""
                said = f"{one} and {other}, {first['about']}: {first['reason']}{tail}"
                _print_folded(console, finding, said, indent=len(head))


def _counts(document: Mapping[str, Any], window: str) -> list[str]:
    """Write each quantity as its witnesses counted it, with a sign between two neighbours."""
    accounts = [a for a in document["accounts"] if a["window"] == window]
    own = [a for a in document["agreements"] if a["window"] == window]
    findings = {(a["about"], *a["witnesses"]): a["finding"] for a in own}
    untraced = any(a["untraced"] for a in accounts)
    parts = []
    for about, field in _COUNTED.items():
        counted = [(a["witness"], a[field]) for a in accounts]
        if any(value is not None for _, value in counted):
            text = f"{about} {_count(counted[0][1])}"
            for (one, _), (other, value) in pairwise(counted):
                sign = _SIGNS[findings.get((about, one, other), "not comparable")]
                text += f" {sign} {_count(value)}"
                if untraced and (about, other) == ("requests", "langfuse"):
                    text += " traced"
            parts.append(text)
    for a in own:
        if a["about"] not in _COUNTED:
            one, other = a["witnesses"]
            parts.append(f"{a['about']} {one} {_SIGNS[a['finding']]} {other}")
    silent = [f"{a['witness']} missing" for a in accounts if a["problem"]]
    return [_whole(p) for p in [*parts, *silent]] or ["no witness counted anything"]


def _count(value: int | None) -> str:
    """Write a count; a witness that does not know it gets a dash, never a zero."""
    return "-" if value is None else f"{value:,}"


def _whole(text: str) -> str:
    """Keep a text on one line: folding is for the gaps between such texts."""
    return text.replace(" ", _NO_BREAK)


def _without_word(sentence: str, status: str) -> str:
    """Take the verdict's word from the front of the sentence, since it is printed before it."""
    return sentence[len(status) + 2 :] if sentence.lower().startswith(f"{status}: ") else sentence


def _print(console: Console, word: tuple[str, str], text: str) -> None:
    _print_folded(console, Text(f"{word[0]}: ", word[1]), text, indent=0)


def _print_folded(console: Console, head: Text, text: str, indent: int | None = None) -> None:
    """Print a head and some text, folded at the console's width under the text's beginning."""
    flat = " ".join(text.split(" "))
    below = " " * (len(head) if indent is None else indent)
    if console.width - max(len(below), len(head)) < _NARROWEST:
        below = " " * 2 * _MARGIN
        if head.plain.strip():
            _print_line(console, head)
        head = Text(below)
    first, *rest = textwrap.wrap(
        flat,
        width=console.width,
        initial_indent=head.plain,
        subsequent_indent=below,
        break_on_hyphens=False,
    ) or [head.plain]
    _print_line(console, head.copy().append(first[len(head) :]))
    for line in rest:
        _print_line(console, Text(line))


def _print_line(console: Console, line: Text) -> None:
    """Print a line as it is, without blanks at its end."""
    whole = Text(" ").join(line.split(_NO_BREAK)) if _NO_BREAK in line.plain else line.copy()
    whole.rstrip()
    console.print(whole, soft_wrap=True)
