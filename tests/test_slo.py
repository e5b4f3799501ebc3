"""A promise that is written wrong is refused in one sentence, before any load."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.model import Ask, Indicator, Kind, Objective, Selector
from harness.slo import Reconciliation, Slo, load_slo
from harness.yamlfile import YamlError

GOOD = """\
version: 1
defaults: {confidence: 90%, min_events: 20}
reconcile: {requests: http_seconds, overhead: 20ms, overhead_limit: 40ms}
objectives:
  - name: p95
    says: Fast.
    scenario: warm
    kind: latency
    quantile: 95%
    at_most: 700ms
    gate: true
    witnesses:
      client: response_time
      metrics:
        histogram: {metric: http_seconds, match: {method: POST, path: [/a, /b]}}
  - name: hits
    says: Cached.
    kind: ratio
    at_least: 80%
    confidence: 99%
    min_events: 5
    witnesses:
      metrics: {good: {metric: hits_total}, total: gets_total}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "slo.yaml"
    path.write_text(text)
    return path


def promise(folder: Path, body: str) -> Objective:
    """Read one objective of the name x that says y."""
    text = f"version: 1\nobjectives:\n  - name: x\n    says: y\n{body}"
    return load_slo(written(folder, text)).objectives[0]


def test_a_whole_file(tmp_path: Path):
    latency = Objective(
        name="p95",
        sentence="Fast.",
        scenario="warm",
        indicator=Indicator(
            "p95",
            Kind.LATENCY,
            {
                "client": Ask("response_time"),
                "metrics": Ask(
                    parts={
                        "histogram": Selector(
                            "http_seconds", {"method": ("POST",), "path": ("/a", "/b")}
                        )
                    }
                ),
            },
            quantile=0.95,
            bound=0.7,
            unit="s",
        ),
        target=0.95,
        promise="p95 <= 700ms",
        at_least=True,
        confidence=0.9,
        min_events=20,
        gate=True,
    )
    ratio = Objective(
        name="hits",
        sentence="Cached.",
        scenario="all",
        indicator=Indicator(
            "hits",
            Kind.RATIO,
            {
                "metrics": Ask(
                    parts={"good": Selector("hits_total"), "total": Selector("gets_total")}
                )
            },
        ),
        target=0.8,
        promise=">= 80%",
        at_least=True,
        confidence=0.99,
        min_events=5,
        gate=False,
    )

    slo = load_slo(written(tmp_path, GOOD), scenarios=("warm", "cold"))

    assert slo == Slo(
        (latency, ratio),
        Reconciliation(requests=Selector("http_seconds"), overhead=0.02, overhead_limit=0.04),
    )
    assert slo.witnesses == ("client", "metrics")
    assert [str(s) for s in slo.selectors()] == [
        "http_seconds{method=POST, path=/a|/b}", "hits_total", "gets_total", "http_seconds",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "    kind: ratio\n    at_most: 5%\n"
            "    witnesses: {metrics: {bad: b_total, total: t_total}}\n",
            ({"metrics": "bad: b_total, total: t_total"}, 0.05, False, "<= 5%", ""),
            id="a share of bad ones",
        ),
        pytest.param(
            "    kind: count\n    at_most: 0\n"
            "    witnesses: {client: failures, metrics: {counter: c_total}}\n",
            ({"client": "failures", "metrics": "counter: c_total"}, 0.0, False, "<= 0", ""),
            id="a count",
        ),
        pytest.param(
            "    kind: amount\n    at_most: 0.002\n    witnesses: {langfuse: usd_per_request}\n",
            ({"langfuse": "usd_per_request"}, 0.002, False, "<= 0.002", "USD"),
            id="an amount in USD",
        ),
        pytest.param(
            "    kind: amount\n    at_most: 1s\n    witnesses: {metrics: scrape_seconds}\n",
            ({"metrics": "scrape_seconds"}, 1.0, False, "<= 1s", "s"),
            id="an amount in seconds",
        ),
        *(
            pytest.param(
                f"    kind: amount\n    at_most: {bound}\n"
                "    witnesses: {benchmark: {file: speed, figure: p95_added}}\n",
                ({"benchmark": "p95_added of the benchmark speed"}, target, False, said, unit),
                id=f"a figure of a benchmark: {bound}",
            )
            for bound, target, said, unit in (
                ("5%", 0.05, "<= 5%", "%"),
                ("50ms", 0.05, "<= 50ms", "s"),
                ("1.2", 1.2, "<= 1.2", ""),
                ("0.002 USD", 0.002, "<= 0.002", "USD"),
            )
        ),
    ],
)
def test_every_kind(tmp_path: Path, body: str, expected: tuple[object, ...]):
    o = promise(tmp_path, body)

    asks = {witness: str(ask) for witness, ask in o.indicator.asks.items()}
    assert (asks, o.target, o.at_least, o.promise, o.indicator.unit) == expected


LATENCY = "    kind: latency\n    quantile: 95%\n    at_most: 5s\n"
RATIO = "    kind: ratio\n    at_least: 80%\n"
OK = "    witnesses: {client: ok}\n"
FIGURE = (
    "    kind: amount\n    at_most: 5%\n    witnesses: {benchmark: {file: speed, figure: p95}}\n"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # -- the objective ------------------------------------------------------
        pytest.param(RATIO + OK + "    severity: high\n", "8: {}.severity: unknown key; known "
                     "here: name, says, scenario, kind, quantile, at_most, at_least, confidence, "
                     "min_events, gate, witnesses", id="an unknown key"),
        pytest.param(OK, "3: {}.kind: missing; it must be given", id="no kind"),
        pytest.param("    kind: speed\n" + OK, "5: {}.kind: 'speed' is not a kind; known: "
                     "latency, ratio, count, amount", id="an unknown kind"),
        pytest.param(RATIO + OK + "    gate: yes\n", "8: {}.gate: 'yes' is neither true nor "
                     "false", id="a gate that is no flag"),
        pytest.param(RATIO + OK + "    gate: [true]\n", "8: {}.gate: must be a single value",
                     id="a list where a value is meant"),
        pytest.param(RATIO + OK + "    confidence: 100%\n", "8: {}.confidence: must be at least "
                     "50% and below 100%", id="absolute confidence"),
        pytest.param(RATIO + OK + "    confidence: 40%\n", "8: {}.confidence: must be at least "
                     "50% and below 100%", id="confidence of less than a coin"),
        pytest.param(RATIO + OK + "    min_events: few\n", "8: {}.min_events: 'few' is not a "
                     "whole number of at least 1", id="a number of events in words"),
        pytest.param(RATIO + OK + "    scenario: hot\n", "8: {}.scenario: 'hot' is no scenario "
                     "here; known: warm, cold, all", id="an unknown scenario"),
        # -- the bound ----------------------------------------------------------
        pytest.param("    kind: latency\n    quantile: 95%\n    witnesses: {client: ttft}\n",
                     "3: {}.at_most: missing; it must be given", id="a latency without bound"),
        pytest.param("    kind: latency\n    at_most: 5s\n    witnesses: {client: ttft}\n",
                     "3: {}.quantile: missing; it must be given", id="a latency without quantile"),
        pytest.param(LATENCY.replace("5s", "5"), "7: {}.at_most: '5' is not a duration; write it "
                     "like 5s, 250ms or 2m", id="a latency without unit"),
        pytest.param(LATENCY.replace("5s", "95%"), "7: {}.at_most: '95%' is not a duration; "
                     "write it like 5s, 250ms or 2m", id="a latency in percent"),
        pytest.param(LATENCY.replace("5s", "0s"), "7: {}.at_most: must be above zero",
                     id="no time at all"),
        pytest.param(LATENCY.replace("95%", "100%"), "6: {}.quantile: must be above 0% and below "
                     "100%", id="the slowest of all"),
        pytest.param(LATENCY + "    at_least: 1s\n", "8: {}.at_least: a latency is promised with "
                     "at_most", id="a latency at least"),
        pytest.param("    kind: ratio\n" + OK, "3: {}.at_most: give exactly one of at_most and "
                     "at_least", id="a ratio without bound"),
        pytest.param(RATIO + "    at_most: 90%\n" + OK, "7: {}.at_most: give exactly one of "
                     "at_most and at_least", id="two bounds"),
        pytest.param(RATIO + "    quantile: 95%\n" + OK, "7: {}.quantile: belongs to latency, "
                     "not to ratio", id="the quantile of a ratio"),
        pytest.param(RATIO.replace("80%", "100%") + OK, "6: {}.at_least: can never be shown with "
                     "confidence; leave room for an error, or use kind: count",
                     id="unreachable: all of them"),
        pytest.param("    kind: ratio\n    at_most: 0%\n" + OK, "6: {}.at_most: can never be "
                     "shown with confidence; leave room for an error, or use kind: count",
                     id="unreachable: none of them"),
        pytest.param(RATIO.replace("80%", "0%") + OK, "6: {}.at_least: promises nothing: no share "
                     "can miss it", id="at least nothing"),
        pytest.param(RATIO.replace("80%", "0.8") + OK, "6: {}.at_least: '0.8' is not a "
                     "percentage; write it like 80% or 99.5%", id="a ratio as a fraction"),
        pytest.param("    kind: count\n    at_least: 1\n    witnesses: {client: failures}\n",
                     "6: {}.at_least: count is promised with at_most", id="a count at least"),
        pytest.param("    kind: count\n    at_most: 5%\n    witnesses: {client: failures}\n",
                     "6: {}.at_most: '5%' is not a number", id="a count in percent"),
        pytest.param("    kind: amount\n    at_most: 1\n    witnesses: {metrics: "
                     "scrape_seconds}\n", "6: {}.at_most: '1' is not a duration; write it like "
                     "5s, 250ms or 2m", id="seconds without unit"),
        # -- the witnesses ------------------------------------------------------
        pytest.param(RATIO, "3: {}.witnesses: missing; it must be given", id="nobody asked"),
        pytest.param(RATIO + "    witnesses: {}\n", "7: {}.witnesses: ask at least one of "
                     "client, metrics, langfuse, benchmark", id="an empty list of witnesses"),
        pytest.param(RATIO + "    witnesses: [client]\n", "7: {}.witnesses: must be a mapping of "
                     "fields", id="a list of witnesses"),
        pytest.param(RATIO + "    witnesses: {jaeger: ok}\n", "7: {}.witnesses.jaeger: unknown "
                     "key; known here: client, metrics, langfuse, benchmark", id="an unknown witness"),
        pytest.param(RATIO + "    witnesses: {client: response_time}\n", "7: {}.witnesses.client: "
                     "the client witness, kind ratio: ask it for ok", id="a wrong question"),
        pytest.param(LATENCY + "    witnesses: {langfuse: ttft}\n", "8: {}.witnesses.langfuse: "
                     "the langfuse witness, kind latency: ask it for trace_latency",
                     id="a question for another witness"),
        pytest.param("    kind: amount\n    at_most: 1\n    witnesses: {client: ok}\n",
                     "7: {}.witnesses.client: the client witness, kind amount: it cannot answer "
                     "that", id="a witness that cannot know"),
        pytest.param("    kind: ratio\n    at_most: 5%\n" + OK, "7: {}.witnesses.client: the "
                     "client witness knows the share of good events; promise it at_least",
                     id="the share of bad ones from a witness of good ones"),
        pytest.param(RATIO + "    witnesses: {metrics: ok}\n", "7: {}.witnesses.metrics: must be "
                     "a mapping of fields", id="metrics asked by name"),
        pytest.param("    kind: amount\n    at_most: 1s\n    witnesses: {metrics: "
                     "scrape_seconds, langfuse: usd_per_request}\n", "7: {}.witnesses: they "
                     "answer in different units; promise one thing at a time",
                     id="seconds and USD in one promise"),
        # -- the figures of a benchmark -----------------------------------------
        pytest.param(FIGURE + "    gate: true\n", "8: {}.gate: a figure that a benchmark measured "
                     "before the run is tracked, never a gate", id="a gate on a figure"),
        pytest.param(FIGURE + "    scenario: warm\n", "8: {}.scenario: a figure of a benchmark "
                     "brings its own; leave this out", id="a scenario of a figure"),
        pytest.param(FIGURE + "    confidence: 99%\n", "8: {}.confidence: a figure of a benchmark "
                     "brings its own; leave this out", id="the confidence of a figure"),
        pytest.param(FIGURE + "    min_events: 9\n", "8: {}.min_events: a figure of a benchmark "
                     "brings its own; leave this out", id="the events of a figure"),
        pytest.param(FIGURE.replace("at_most", "at_least"), "6: {}.at_least: amount is promised "
                     "with at_most", id="at least a figure"),
        pytest.param(FIGURE.replace("5%", "5x"), "6: {}.at_most: '5x' is not a duration; write it "
                     "like 5s, 250ms or 2m", id="a unit nobody knows"),
        pytest.param(FIGURE.replace("5%", "much USD"), "6: {}.at_most: 'much' is not a number",
                     id="dollars in words"),
        pytest.param(FIGURE.replace("{benchmark:", "{langfuse: usd_per_request, benchmark:"),
                     "7: {}.witnesses: the benchmark measured at another time than the others; "
                     "ask it alone", id="a figure beside a witness of the run"),
        pytest.param(RATIO + FIGURE.splitlines(keepends=True)[-1], "7: {}.witnesses.benchmark: the "
                     "benchmark witness knows amounts; use kind: amount, not ratio",
                     id="a ratio of a benchmark"),
        pytest.param(FIGURE.replace("speed", "../speed"), "7: {}.witnesses.benchmark.file: "
                     "'../speed': use lower-case letters, digits and underscores",
                     id="a file in another folder"),
        pytest.param(FIGURE.replace("figure: p95", "figure: P95"), "7: {}.witnesses.benchmark."
                     "figure: 'P95': use lower-case letters, digits and underscores",
                     id="a figure that is no name"),
        pytest.param(FIGURE.replace(", figure: p95", ""), "7: {}.witnesses.benchmark.figure: "
                     "missing; it must be given", id="no figure"),
        pytest.param(FIGURE.replace("figure:", "name:"), "7: {}.witnesses.benchmark.name: unknown "
                     "key; known here: file, figure", id="an unknown key of a figure"),
        pytest.param(FIGURE.replace("{file: speed, figure: p95}", "p95"), "7: {}.witnesses."
                     "benchmark: must be a mapping of fields", id="a figure of no file"),
        # -- what the metrics are asked -----------------------------------------
        pytest.param(LATENCY + "    witnesses: {metrics: {}}\n", "8: {}.witnesses.metrics."
                     "histogram: missing; it must be given", id="a latency without histogram"),
        pytest.param(LATENCY + "    witnesses: {metrics: {failed: f_total}}\n", "8: {}.witnesses."
                     "metrics.histogram: missing; it must be given", id="only the failures"),
        pytest.param(RATIO + "    witnesses: {metrics: {good: g_total}}\n", "7: {}.witnesses."
                     "metrics.total: missing; it must be given", id="a part of nothing"),
        pytest.param(RATIO + "    witnesses: {metrics: {bad: b_total, total: t_total}}\n",
                     "7: {}.witnesses.metrics.bad: unknown key; known here: good, total",
                     id="bad ones for at_least"),
        pytest.param("    kind: count\n    at_most: 0\n    witnesses: {metrics: {total: t}}\n",
                     "7: {}.witnesses.metrics.total: unknown key; known here: counter",
                     id="the total of a count"),
        pytest.param(RATIO + "    witnesses: {metrics: {good: 'rate(x[5m])', total: t_total}}\n",
                     "7: {}.witnesses.metrics.good: 'rate(x[5m])' is not the name of a metric",
                     id="PromQL for a metric"),
        pytest.param(RATIO + "    witnesses: {metrics: {good: {metric: g, label: x}, total: t}}\n",
                     "7: {}.witnesses.metrics.good.label: unknown key; known here: metric, match, absent",
                     id="a wrong key in a selector"),
        pytest.param(RATIO + "    witnesses: {metrics: {good: {match: {}}, total: t}}\n",
                     "7: {}.witnesses.metrics.good.metric: missing; it must be given",
                     id="labels of no metric"),
        pytest.param(RATIO + "    witnesses: {metrics: {good: [g], total: t}}\n",
                     "7: {}.witnesses.metrics.good: must be a mapping of fields",
                     id="a list of metrics"),
        pytest.param(RATIO + "    witnesses: {metrics: {good: {metric: g_bucket, match: {le: "
                     "fast}}, total: t}}\n", "7: {}.witnesses.metrics.good.match.le: must be the "
                     "upper bound of a bucket, such as 5 or +Inf", id="a bucket that is no number"),
        pytest.param(RATIO + "    witnesses: {metrics: {good: {metric: g_bucket, match: {le: "
                     "nan}}, total: t}}\n", "7: {}.witnesses.metrics.good.match.le: must be the "
                     "upper bound of a bucket, such as 5 or +Inf", id="a bucket of nan"),
    ],
)  # fmt: skip
def test_a_wrong_objective_is_refused(tmp_path: Path, body: str, expected: str):
    path = written(tmp_path, f"version: 1\nobjectives:\n  - name: x\n    says: y\n{body}")

    with pytest.raises(YamlError) as caught:
        load_slo(path, scenarios=("warm", "cold"))

    assert str(caught.value) == f"{path}:{expected.format('objectives[0]')}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(("version: 1", "version: 2"), "1: version: '2' is not known; this harness "
                     "reads 1", id="another version"),
        pytest.param(("version: 1\n", ""), "1: version: missing; it must be given",
                     id="no version"),
        pytest.param(("version: 1", "version: 1\nalerts: 3"), "2: alerts: unknown key; known "
                     "here: version, defaults, reconcile, objectives", id="an unknown key"),
        pytest.param((GOOD[GOOD.index("objectives"):], "objectives: []\n"),
                     "4: objectives: promise at least one thing", id="no promise"),
        pytest.param((GOOD[GOOD.index("objectives"):], ""), "1: objectives: missing; it must be "
                     "given", id="no list of promises"),
        pytest.param((GOOD[GOOD.index("objectives"):], "objectives: {a: b}\n"),
                     "4: objectives: must be a list", id="promises that are no list"),
        pytest.param(("name: hits", "name: p95"), "16: objectives[1].name: 'p95' is used twice; "
                     "names must differ", id="a name twice"),
        pytest.param(("name: p95", "name: P 95"), "5: objectives[0].name: 'P 95': use lower-case "
                     "letters, digits and underscores", id="a name with a space"),
        pytest.param(("    says: Fast.\n", ""), "5: objectives[0].says: missing; it must be "
                     "given", id="a promise without words"),
        pytest.param(("says: Fast.", "says:"), "6: objectives[0].says: is empty; give a value or "
                     "leave the field out", id="a promise of empty words"),
        pytest.param(("confidence: 90%", "confidence: 100%"), "2: defaults.confidence: must be "
                     "at least 50% and below 100%", id="default of absolute confidence"),
        pytest.param(("confidence: 90%", "confidence: 0.9"), "2: defaults.confidence: '0.9' is "
                     "not a percentage; write it like 80% or 99.5%", id="default as a fraction"),
        pytest.param(("min_events: 20", "gate: true"), "2: defaults.gate: unknown key; known "
                     "here: confidence, min_events", id="a default that is none"),
        pytest.param(("overhead: 20ms", "overhead: 20"), "3: reconcile.overhead: '20' is not a "
                     "duration; write it like 5s, 250ms or 2m", id="overhead without unit"),
        pytest.param(("overhead: 20ms, overhead_limit: 40ms", "overhead: 200ms"),
                     "3: reconcile.overhead_limit: must not be below overhead; it is 0.1 s here",
                     id="overhead above its limit"),
        pytest.param(("requests: http_seconds", "request: http_seconds"), "3: reconcile.request: "
                     "unknown key; known here: requests, llm_calls, tool_calls, input_tokens, "
                     "output_tokens, overhead, overhead_limit, stragglers, cost_within",
                     id="an unknown count"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(tmp_path: Path, change: tuple[str, str], expected: str):
    assert change[0] in GOOD
    path = written(tmp_path, GOOD.replace(*change, 1))

    with pytest.raises(YamlError) as caught:
        load_slo(path)

    assert str(caught.value) == f"{path}:{expected}"


def test_without_defaults_and_reconciling(tmp_path: Path):
    slo = load_slo(
        written(tmp_path, f"version: 1\nobjectives:\n  - name: x\n    says: y\n{RATIO}{OK}")
    )

    assert (slo.objectives[0].confidence, slo.objectives[0].min_events) == (0.95, 1)
    assert slo.reconciliation == Reconciliation()
    assert slo.witnesses == ("client",)


def test_the_promises_of_this_repository_load():
    slo = load_slo(Path("slo.yaml"), scenarios=("cold_cache", "warm_cache", "max_iterations"))

    gates = {o.name: (o.scenario, o.promise) for o in slo.objectives if o.gate}
    assert gates == {
        "chat_p95": ("warm_cache", "p95 <= 5s"),
        "cache_hit_rate": ("warm_cache", ">= 80%"),
    }
    assert slo.witnesses == ("client", "metrics", "langfuse")
    assert slo.benchmarks == ("observability",)
    figures = {
        ask.what: (o.name, o.promise, o.gate)
        for o in slo.objectives
        if (ask := o.indicator.asks.get("benchmark"))
    }
    assert figures == {
        "ai_p95_added": ("tracing_p95_added", "<= 5%", False),
        "metrics_cpu_share": ("metrics_cpu_share", "<= 1%", False),
        "scrape_seconds": ("scrape_seconds_after_10k", "<= 50ms", False),
        "middleware_cpu_ratio": ("middleware_cpu", "<= 1.2", False),
    }
