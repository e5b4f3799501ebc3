"""report.html: one page that needs nothing else, neither network nor JavaScript."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.report import charts, figures, tables
from harness.report.load_chart import load_chart
from harness.report.verdicts import WORDS, by_gravity, disputes, gravest, witnesses
from harness.slo import BENCHMARK

_TIMES = {
    "response_time": "response time",
    "service_time": "service time",
    "ttft": "time to first token",
    "tpot": "time per output token",
    "inter_token": "between two tokens",
    "request time": "request time",
    "trace_latency": "trace",
}
_OF_STREAMS = ("ttft", "tpot", "inter_token")
_PLURALS = {"contradiction": "contradictions"}
_MARKS = {"agree": "=", "contradiction": "≠", "unaccounted time": "+", "not comparable": "?"}


def page(document: tables.Document) -> str:
    """Write the page; the same document gives the same bytes."""
    return _environment().get_template("report.html.j2").render(_view(document)) + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown: dict[str, Callable[[float | None], str]] = {
        "seconds": figures.seconds,
        "duration": figures.duration,
        "percent": figures.percent,
        "count": figures.count,
        "usd": figures.usd,
        "rate": figures.rate,
        "mean": figures.mean,
        "size": figures.size,
    }
    environment.filters.update({name: _of_any(write) for name, write in shown.items()})
    environment.filters["span"] = _span
    environment.filters["mark"] = _MARKS.__getitem__
    return environment


def _of_any(write: Callable[[float | None], str]) -> Callable[[object], str]:
    """Let a way of writing numbers take what frames and documents hold: NaN, None, "inf"."""
    return lambda value: write(figures.number(value))


def _span(ends: Sequence[object]) -> str:
    """Write an interval of times."""
    return figures.span(figures.number(ends[0]), figures.number(ends[1]), "latency")


def _view(document: tables.Document) -> dict[str, Any]:
    run = document["run"]
    verdicts = by_gravity(document["verdicts"])
    answers = tables.objectives(document)
    objectives = [_objective(v, answers) for v in verdicts]
    first, stop, rest = document["sentence"].partition(". ")
    word, colon, headline = f"{first}{stop}".strip().partition(": ")
    costs = tables.costs(document)
    return {
        "document": document,
        "run": run,
        "word": f"{word}{colon}",
        "headline": headline,
        "rest": rest,
        "started": _moment(run["started"]),
        "seconds": None if run["ended"] is None else run["ended"] - run["started"],
        "tiles": _tiles(document, costs),
        "disputes": disputes(document),
        "witnesses": [w for w in witnesses(document) if w != BENCHMARK],
        "objectives": objectives,
        "benchmarks": [_benchmark(b, objectives) for b in document["benchmarks"]],
        "scenarios": [_scenario(document, w) for w in document["windows"]],
        "costs": costs.to_dict("index"),
        "total": costs.sum(skipna=False).to_dict() if len(costs) > 1 else None,
        "agent": tables.agent(document).to_dict("index"),
        "tools": tables.tools(document).to_dict("index"),
        "load": tables.load(document).to_dict("index"),
        "budgeted": any(w["spent_usd"] is not None for w in document["windows"]),
        "closed": [w["name"] for w in document["windows"] if not w["open_loop"]],
        "fared": [_fared(w) for w in document["windows"] if w["generator"]["processes"]],
        "style": _inlined("report.css"),
        "script": _inlined("report.js"),
    }


def _moment(instant: float) -> str:
    day = datetime.fromtimestamp(instant, UTC)
    return f"{day.day} {day:%B %Y, %H:%M} UTC"


def _inlined(name: str) -> Markup:
    """Our own text, which ships with this module, as it is."""
    return Markup((files("harness.report") / name).read_text(encoding="utf-8"))  # noqa: S704


def _tiles(document: tables.Document, costs: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The few numbers to remember: what, how much, and the rest of it."""
    gates = Counter(v["status"] for v in document["verdicts"] if v["objective"]["gate"])
    tracked = Counter(v["status"] for v in document["verdicts"] if not v["objective"]["gate"])
    findings = Counter(a["finding"] for a in document["agreements"])
    others = [
        f"{n} {_PLURALS.get(finding, finding) if n > 1 else finding}"
        for finding, n in findings.items()
        if finding != "agree"
    ]
    usd = figures.number(costs["cost_usd"].sum(skipna=False)) if len(costs) else None
    windows = len(document["windows"])
    requests = sum(w["requests"] for w in document["windows"])
    return [
        ("Gates met", f"{gates['met']} of {gates.total()}", _others(gates)),
        ("Tracked met", f"{tracked['met']} of {tracked.total()}", _others(tracked)),
        (
            "Witnesses agree",
            f"{findings['agree']} of {findings.total()}",
            ", ".join(others) or "comparisons",
        ),
        (
            "Requests",
            figures.count(requests),
            f"in {windows} scenario{'s' if windows != 1 else ''}",
        ),
        ("LLM cost", figures.usd(usd), "as Langfuse says" if usd is not None else "not known"),
    ]


def _others(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[word]} {word}" for word in WORDS[:2] if counts[word]) or "all kept"


def _objective(verdict: Mapping[str, Any], answers: pd.DataFrame) -> dict[str, Any]:
    objective, agreements = verdict["objective"], verdict["agreements"]
    indicator = objective["indicator"]
    own = answers[answers["objective"] == objective["name"]]
    cells = {
        m["witness"]: {
            "text": figures.measured(m, indicator),
            "detail": _detail(row, indicator),
            "asked": m["asked"],
            "missing": m["note"] if m["value"] is None else "",
            "note": m["note"] if m["value"] is not None else "",
        }
        for m, row in zip(verdict["measurements"], own.to_dict("records"), strict=True)
    }
    said = "; ".join(f"{witness} {cell['text']}" for witness, cell in cells.items())
    return {
        "name": objective["name"],
        "sentence": objective["sentence"],
        "scenario": objective["scenario"],
        "gate": objective["gate"],
        "where": _where(objective),
        "promise": figures.promise(objective),
        "unit": indicator["unit"],
        "status": verdict["status"],
        "rank": WORDS.index(verdict["status"]),
        "reason": verdict["reason"],
        "cells": cells,
        "figure": cells[BENCHMARK]["text"] if BENCHMARK in cells else "",
        "chart": _chart(f"Promised {objective['promise']}; seen: {said}", objective, own),
        "finding": gravest(agreements),
        "agreements": agreements,
        "agreeing": sum(a["finding"] == "agree" for a in agreements),
    }


def _where(objective: Mapping[str, Any]) -> str:
    """What a promise is about: a scenario, the whole run, or what was measured apart from it."""
    if BENCHMARK in objective["indicator"]["asks"]:
        return "measured apart"
    return "all scenarios" if objective["scenario"] == "all" else str(objective["scenario"])


def _benchmark(
    benchmark: Mapping[str, Any], objectives: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A benchmark's figures beside what was promised of them, and when and on what it ran."""
    judged = {o["name"]: o for o in objectives}
    rows = []
    for figure in benchmark["figures"]:
        objective = judged[figure["objective"]]
        value, low, high = (figures.number(figure[name]) for name in ("value", "low", "high"))
        unit = objective["unit"]
        rows.append(
            {
                **{name: objective[name] for name in ("name", "status", "rank", "promise")},
                "figure": figure["figure"],
                "estimate": figures.amount(value, unit),
                "interval": figures.span(low, high, "amount", unit),
                "events": figures.count(figure["count"]),
            }
        )
    return {
        "name": benchmark["name"],
        "measured": _moment(datetime.fromisoformat(benchmark["measured_at"]).timestamp()),
        "machine": benchmark["machine"],
        "versions": benchmark["versions"],
        "differences": benchmark["differences"],
        "rows": rows,
    }


def _detail(row: Mapping[str, Any], indicator: Mapping[str, Any]) -> list[str]:
    """What stands below a value: the share at the bound, or the confidence limits on it."""
    good = figures.number(row["good"])
    if good is None or indicator["kind"] in ("count", "amount"):
        return []
    events = f"of {figures.count(row['events'])}"
    if indicator["kind"] == "latency":
        bound = figures.seconds(figures.number(indicator["bound"]))
        return [f"{figures.percent(good)} ≤ {bound}", events]
    limits = figures.span(figures.number(row["least"]), figures.number(row["most"]), "ratio")
    return [limits, events]


def _chart(label: str, objective: Mapping[str, Any], own: pd.DataFrame) -> str:
    indicator = objective["indicator"]
    share = indicator["kind"] == "ratio"
    latency = indicator["kind"] == "latency"
    fields = ("low", "high", "least", "most") if share else ("low", "high")
    seen = [
        charts.Seen(row["witness"], *(figures.number(row[f]) for f in fields))
        for row in own.to_dict("records")
    ]
    target = figures.number(indicator["bound"] if latency else objective["target"])
    at_least = objective["at_least"] and share
    return charts.interval_chart(label, seen, target or 0.0, at_least=at_least, share=share)


def _scenario(document: tables.Document, window: Mapping[str, Any]) -> dict[str, Any]:
    name = window["name"]
    curve = tables.curve(document, name)
    limits = [
        (f"{o['name']}: {figures.promise(o)}", bound)
        for v in document["verdicts"]
        if (o := v["objective"])["indicator"]["kind"] == "latency"
        and o["scenario"] in (name, "all")
        and (bound := figures.number(o["indicator"]["bound"])) is not None
    ]
    own = [a for a in document["agreements"] if a["window"] == name]
    return {
        "name": name,
        "matrix": _matrix(document, name, own),
        "finding": gravest(own),
        "problems": [
            (a["witness"], a["problem"])
            for a in document["accounts"]
            if a["window"] == name and a["problem"]
        ],
        "coupling": next((a for a in own if a["bounds"]), None),
        "bounds": [row for a in own if a["bounds"] for row in tables.bounds(a).to_dict("records")],
        "times": _times(document, name),
        "streamed": _times(document, name, of_streams=True),
        "plot": charts.percentile_plot(name, curve, limits),
        "curve": curve.reset_index(names="quantile").to_dict("records"),
    }


def _matrix(
    document: tables.Document, window: str, own: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Quantities by witnesses, with what comparing each pair of them found."""
    frame = tables.accounts(document, window)
    write: dict[str, Callable[[float | None], str]] = {
        "request time": figures.seconds,
        "cost": figures.usd,
    }
    rows = []
    for about in dict.fromkeys([*frame.index, *(a["about"] for a in own)]):
        pairs = [a for a in own if a["about"] == about]
        known = frame.loc[about].to_dict() if about in frame.index else {}
        values = {
            w: write.get(about, figures.count)(figures.number(known.get(w))) for w in frame.columns
        }
        rows.append({"about": about, "values": values, "pairs": pairs, "finding": gravest(pairs)})
    return {"witnesses": list(frame.columns), "rows": rows}


def _fared(window: Mapping[str, Any]) -> dict[str, Any]:
    """How the load processes of one window fared."""
    return {
        "name": window["name"],
        "open_loop": window["open_loop"],
        "processes": window["generator"]["processes"],
        "chart": load_chart(
            window["name"], tables.generator(window), window["generator"]["piece"]
        ),
    }


def _times(
    document: tables.Document, window: str, *, of_streams: bool = False
) -> list[dict[str, Any]]:
    """Rows of the table of quantiles of one window: of its requests, or of what it streamed."""
    frame = tables.quantiles(document)
    own = frame[(frame["window"] == window) & (frame["time"].isin(_OF_STREAMS) == of_streams)]
    rows = []
    for _, group in own.groupby(["witness", "time"], sort=False):
        cells = group.to_dict("records")
        first = cells[0]
        rows.append(
            {
                "witness": first["witness"],
                "time": _TIMES.get(first["time"], first["time"]),
                "events": first["events"],
                "cells": cells,
            }
        )
    return rows
