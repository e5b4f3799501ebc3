"""slo.yaml: what was promised, read strictly; every error names file, line and field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from harness.model import Ask, Indicator, Kind, Objective, Selector
from harness.yamlfile import Fields, YamlError, read_yaml

WITNESSES = ("client", "metrics", "langfuse")
# Not one of them: what it saw is older than the run, so it need not testify.
BENCHMARK = "benchmark"
ALL = "all"

# What each witness can be asked for by name, per kind of indicator. The
# metrics witness is asked by metric and labels instead.
_KNOWN: Mapping[tuple[str, Kind], tuple[str, ...]] = {
    ("client", Kind.LATENCY): ("response_time", "service_time", "ttft", "tpot", "inter_token"),
    ("client", Kind.RATIO): ("ok",),
    ("client", Kind.COUNT): ("failures",),
    ("langfuse", Kind.LATENCY): ("trace_latency",),
    ("langfuse", Kind.RATIO): ("generations_ok", "tools_ok", "traces_ok"),
    ("langfuse", Kind.AMOUNT): ("usd_per_request",),
    ("metrics", Kind.AMOUNT): ("scrape_seconds",),
}


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How the witnesses are compared: where the server counts what, and what is allowed."""

    requests: Selector | None = None
    llm_calls: Selector | None = None
    tool_calls: Selector | None = None
    input_tokens: Selector | None = None
    output_tokens: Selector | None = None
    overhead: float = 0.05
    overhead_limit: float = 0.1
    stragglers: float = 0.02
    cost_within: float = 0.05

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """Every selector that is given."""
        counted = (
            self.requests, self.llm_calls, self.tool_calls, self.input_tokens, self.output_tokens,
        )  # fmt: skip
        return tuple(s for s in counted if s is not None)


@dataclass(frozen=True, slots=True)
class Slo:
    """A whole slo.yaml: the objectives, and how to reconcile the witnesses."""

    objectives: tuple[Objective, ...]
    reconciliation: Reconciliation = field(default_factory=Reconciliation)

    @property
    def witnesses(self) -> tuple[str, ...]:
        """The witnesses that are asked anything: those that must testify."""
        asked = {w for o in self.objectives for w in o.indicator.asks}
        if any(self.selectors()):
            asked.add("metrics")
        return tuple(w for w in WITNESSES if w in asked or w == "client")

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmarks whose figures are promised."""
        asked = (a.benchmark for o in self.objectives for a in o.indicator.asks.values())
        return tuple(dict.fromkeys(filter(None, asked)))

    def selectors(self) -> tuple[Selector, ...]:
        """Every selector that the server's metrics are asked with."""
        asked = [
            s for o in self.objectives for a in o.indicator.asks.values() for s in a.parts.values()
        ]
        return (*asked, *self.reconciliation.selectors)


def load_slo(path: Path, scenarios: tuple[str, ...] = ()) -> Slo:
    """
    Read slo.yaml; raises YamlError for the first thing that is wrong with it.

    With `scenarios` given, an objective must be about one of them or about "all".
    """
    top = read_yaml(path)
    top.only("version", "defaults", "reconcile", "objectives")
    if top.text("version") != "1":
        raise top.error("version", f"{top.text('version')!r} is not known; this harness reads 1")
    defaults = _defaults(top)
    objectives = tuple(_objective(f, defaults, scenarios) for f in top.items("objectives"))
    if not objectives:
        raise top.error("objectives", "promise at least one thing")
    names = [o.name for o in objectives]
    for number, item in enumerate(top.items("objectives")):
        if names[number] in names[:number]:
            raise item.error("name", f"{names[number]!r} is used twice; names must differ")
    reconciliation = _reconciliation(top.fields("reconcile")) if "reconcile" in top else None
    return Slo(objectives, reconciliation or Reconciliation())


@dataclass(frozen=True, slots=True)
class _Defaults:
    confidence: str = "95%"
    min_events: int = 1


def _defaults(top: Fields) -> _Defaults:
    if "defaults" not in top:
        return _Defaults()
    fields = top.fields("defaults")
    fields.only("confidence", "min_events")
    _confidence(fields, "95%")
    return _Defaults(fields.text("confidence", "95%"), fields.whole("min_events", 1))


def _confidence(fields: Fields, default: str) -> float:
    confidence = fields.share("confidence", default)
    if not 0.5 <= confidence < 1:
        raise fields.error("confidence", "must be at least 50% and below 100%")
    return confidence


def _objective(item: Fields, defaults: _Defaults, scenarios: tuple[str, ...]) -> Objective:
    item.only(
        "name", "says", "scenario", "kind", "quantile", "at_most", "at_least",
        "confidence", "min_events", "gate", "witnesses",
    )  # fmt: skip
    name = item.text("name")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise item.error("name", f"{name!r}: use lower-case letters, digits and underscores")
    scenario = item.text("scenario", ALL)
    if scenarios and scenario not in (*scenarios, ALL):
        known = ", ".join((*scenarios, ALL))
        raise item.error("scenario", f"{scenario!r} is no scenario here; known: {known}")
    kind_text = item.text("kind")
    if kind_text not in tuple(Kind):
        raise item.error("kind", f"{kind_text!r} is not a kind; known: {', '.join(Kind)}")
    kind = Kind(kind_text)
    confidence = _confidence(item, defaults.confidence)
    indicator, target, at_least, promise = _target(item, name, kind)
    return Objective(
        name=name,
        sentence=item.text("says"),
        scenario=scenario,
        indicator=indicator,
        target=target,
        promise=promise,
        at_least=at_least,
        confidence=confidence,
        min_events=item.whole("min_events", defaults.min_events),
        gate=item.flag("gate", default=False),
    )


def _target(item: Fields, name: str, kind: Kind) -> tuple[Indicator, float, bool, str]:
    """Read the bound of an objective: (indicator, target, at least?, promise in words)."""
    if kind is Kind.LATENCY:
        return _latency_target(item, name)
    if "quantile" in item:
        raise item.error("quantile", f"belongs to latency, not to {kind}")
    given = [key for key in ("at_most", "at_least") if key in item]
    if len(given) != 1:
        raise item.error("at_most", "give exactly one of at_most and at_least")
    key = given[0]
    if kind is Kind.RATIO:
        return _ratio_target(item, name, key)
    if key == "at_least":
        raise item.error(key, f"{kind} is promised with at_most")
    asks = _asks(item, kind, bad=False)
    if BENCHMARK in asks:
        return _figure_target(item, name, asks)
    in_seconds = any(ask.what.endswith("_seconds") for ask in asks.values())
    if in_seconds and len(asks) > 1:
        raise item.error(
            "witnesses", "they answer in different units; promise one thing at a time"
        )
    limit = item.seconds(key) if in_seconds else item.number(key)
    unit = "" if kind is Kind.COUNT else "s" if in_seconds else "USD"
    return Indicator(name, kind, asks, unit=unit), limit, False, f"<= {item.text(key)}"


def _figure_target(
    item: Fields, name: str, asks: dict[str, Ask]
) -> tuple[Indicator, float, bool, str]:
    """Read what is promised of a figure: the bound's own unit says what the figure is in."""
    if item.flag("gate", default=False):
        raise item.error(
            "gate", "a figure that a benchmark measured before the run is tracked, never a gate"
        )
    if len(asks) > 1:
        raise item.error(
            "witnesses", "the benchmark measured at another time than the others; ask it alone"
        )
    for key in ("scenario", "confidence", "min_events"):
        if key in item:
            raise item.error(key, "a figure of a benchmark brings its own; leave this out")
    text = item.text("at_most")
    amount = text.removesuffix(" USD")
    if text.endswith("%"):
        limit, unit = item.share("at_most"), "%"
    elif amount != text:
        limit, unit = item.number("at_most", amount), "USD"
    elif text[-1:].isalpha():
        limit, unit = item.seconds("at_most"), "s"
    else:
        limit, unit = item.number("at_most"), ""
    return Indicator(name, Kind.AMOUNT, asks, unit=unit), limit, False, f"<= {amount}"


def _latency_target(item: Fields, name: str) -> tuple[Indicator, float, bool, str]:
    if "at_least" in item:
        raise item.error("at_least", "a latency is promised with at_most")
    quantile, bound = item.share("quantile"), item.seconds("at_most")
    if not 0 < quantile < 1:
        raise item.error("quantile", "must be above 0% and below 100%")
    if bound <= 0:
        raise item.error("at_most", "must be above zero")
    asks = _asks(item, Kind.LATENCY, bad=False)
    indicator = Indicator(name, Kind.LATENCY, asks, quantile=quantile, bound=bound, unit="s")
    return indicator, quantile, True, f"p{100 * quantile:g} <= {item.text('at_most')}"


def _ratio_target(item: Fields, name: str, key: str) -> tuple[Indicator, float, bool, str]:
    share, at_least = item.share(key), key == "at_least"
    if (at_least and share >= 1) or (not at_least and share <= 0):
        raise item.error(
            key, "can never be shown with confidence; leave room for an error, or use kind: count"
        )
    if share in (0, 1):
        raise item.error(key, "promises nothing: no share can miss it")
    asks = _asks(item, Kind.RATIO, bad=not at_least)
    sign = ">=" if at_least else "<="
    return Indicator(name, Kind.RATIO, asks), share, at_least, f"{sign} {item.text(key)}"


def _asks(item: Fields, kind: Kind, *, bad: bool) -> dict[str, Ask]:
    witnesses = item.fields("witnesses")
    witnesses.only(*WITNESSES, BENCHMARK)
    if not witnesses.keys():
        raise item.error("witnesses", f"ask at least one of {', '.join((*WITNESSES, BENCHMARK))}")
    return {w: _ask(witnesses, w, kind, bad=bad) for w in witnesses.keys()}  # noqa: SIM118


def _ask(witnesses: Fields, witness: str, kind: Kind, *, bad: bool) -> Ask:
    if witness == BENCHMARK:
        return _figure(witnesses, kind)
    known = _KNOWN.get((witness, kind), ())
    if witness == "metrics" and not known:
        return Ask(parts=_parts(witnesses.fields(witness), kind, bad=bad))
    what = witnesses.text(witness)
    if bad:
        raise witnesses.error(
            witness, f"the {witness} witness knows the share of good events; promise it at_least"
        )
    if what not in known:
        can = f"ask it for {', '.join(known)}" if known else "it cannot answer that"
        raise witnesses.error(witness, f"the {witness} witness, kind {kind}: {can}")
    return Ask(what)


def _figure(witnesses: Fields, kind: Kind) -> Ask:
    """Read `{file: name, figure: name}`: which figure of which benchmark is asked for."""
    if kind is not Kind.AMOUNT:
        raise witnesses.error(
            BENCHMARK, f"the benchmark witness knows amounts; use kind: amount, not {kind}"
        )
    inner = witnesses.fields(BENCHMARK)
    inner.only("file", "figure")
    named = {}
    for key in ("file", "figure"):
        named[key] = inner.text(key)
        # The file's name becomes a path: it must stay in its folder.
        if not re.fullmatch(r"[a-z][a-z0-9_]*", named[key]):
            raise inner.error(
                key, f"{named[key]!r}: use lower-case letters, digits and underscores"
            )
    return Ask(named["figure"], benchmark=named["file"])


def _parts(ask: Fields, kind: Kind, *, bad: bool) -> dict[str, Selector]:
    """Read what the metrics witness is asked: the named selectors of this kind."""
    share = "bad" if bad else "good"
    needed, optional = {
        Kind.LATENCY: (("histogram",), ("failed",)),
        Kind.RATIO: ((share, "total"), ()),
        Kind.COUNT: (("counter",), ()),
    }[kind]
    ask.only(*needed, *optional)
    return {
        part: selector(ask, part) for part in (*needed, *optional) if part in ask or part in needed
    }


def selector(fields: Fields, key: str) -> Selector:
    """Read `{metric: name, match: {label: value or values}, absent: zero}`, or just a name."""
    if key in fields and isinstance(fields.node(key), yaml.ScalarNode):
        return Selector(_metric(fields, key))
    inner = fields.fields(key)
    inner.only("metric", "match", "absent")
    if inner.text("absent", "zero") != "zero":
        raise inner.error("absent", "can only be zero: no series then means it never happened")
    match: dict[str, tuple[str, ...]] = {}
    if "match" in inner:
        labels = inner.fields("match")
        match = {label: labels.texts(label) for label in labels.keys()}  # noqa: SIM118
        if not all(_is_number(bound) for bound in match.get("le", ())):
            raise labels.error("le", "must be the upper bound of a bucket, such as 5 or +Inf")
    return Selector(_metric(inner, "metric"), match, "absent" in inner)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def _metric(fields: Fields, key: str) -> str:
    name = fields.text(key)
    if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name):
        raise fields.error(key, f"{name!r} is not the name of a metric")
    return name


def _reconciliation(fields: Fields) -> Reconciliation:
    counted = ("requests", "llm_calls", "tool_calls", "input_tokens", "output_tokens")
    fields.only(*counted, "overhead", "overhead_limit", "stragglers", "cost_within")
    selectors = {key: selector(fields, key) for key in counted if key in fields}
    overhead = fields.seconds("overhead", "50ms")
    limit = fields.seconds("overhead_limit", "100ms")
    if limit < overhead:
        raise fields.error("overhead_limit", f"must not be below overhead; it is {limit:g} s here")
    return Reconciliation(
        requests=selectors.get("requests"),
        llm_calls=selectors.get("llm_calls"),
        tool_calls=selectors.get("tool_calls"),
        input_tokens=selectors.get("input_tokens"),
        output_tokens=selectors.get("output_tokens"),
        overhead=overhead,
        overhead_limit=limit,
        stragglers=fields.share("stragglers", "2%"),
        cost_within=fields.share("cost_within", "5%"),
    )


__all__ = [
    "ALL", "BENCHMARK", "WITNESSES", "Reconciliation", "Slo", "YamlError", "load_slo", "selector",
]  # fmt: skip
