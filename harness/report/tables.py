"""
The tables of the report as frames of plain numbers; how they look is decided elsewhere.

A number that nobody knows is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.judge import statistics
from harness.report.figures import number

Document = Mapping[str, Any]

_OBJECTIVES = (
    "objective", "witness", "low", "high", "least", "most", "good", "events", "note", "asked",
)  # fmt: skip
_COUNTED = {
    "requests": "requests",
    "LLM calls": "llm_calls",
    "tool calls": "tool_calls",
    "input tokens": "input_tokens",
    "output tokens": "output_tokens",
    "cost": "cost_usd",
}
_TIME = "request time"


def objectives(document: Document) -> pd.DataFrame:
    """
    Objectives by witnesses: a row for each answer of a witness.

    `low` and `high` hold the quantile in seconds for a latency, else the value;
    `good` is the share at or below a latency's bound; `least` and `most` are the
    one-sided confidence limits on a share, as the judge uses them.
    """
    rows = []
    for verdict in document["verdicts"]:
        objective = verdict["objective"]
        for m in verdict["measurements"]:
            shown = m["quantile" if objective["indicator"]["kind"] == "latency" else "value"]
            least, most = _limits(objective, m)
            rows.append(
                (
                    objective["name"], m["witness"], *_ends(shown), least, most,
                    *_ends(m["value"])[:1], m["events"], m["note"], m["asked"],
                )
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(_OBJECTIVES)).astype(
        dict.fromkeys(("low", "high", "least", "most", "good"), "float64")
    )


def quantiles(document: Document) -> pd.DataFrame:
    """
    Times side by side: a row for each window, witness, time and quantile.

    `low` and `high` are where the sample's quantile lies, `from` and `to` where
    the true one lies with 95 % confidence, all in seconds.
    """
    rows = [
        {
            **{name: q[name] for name in ("window", "witness", "time", "events", "quantile")},
            **dict(zip(("low", "high"), _ends(q["value"]), strict=True)),
            **dict(zip(("from", "to"), map(number, q["confidence"]), strict=True)),
        }
        for q in document["quantiles"]
    ]
    times = ["low", "high", "from", "to"]
    columns = ["window", "witness", "time", "events", "quantile", *times]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(times, "float64"))


def accounts(document: Document, window: str) -> pd.DataFrame:
    """Quantities by witnesses of one window: what each of them counted."""
    own = [a for a in document["accounts"] if a["window"] == window]
    frame = pd.DataFrame(
        {a["witness"]: [number(a[field]) for field in _COUNTED.values()] for a in own},
        index=list(_COUNTED),
        dtype="float64",
    )
    for a in document["agreements"]:
        if a["window"] == window and a["about"] == _TIME:
            for witness, value in zip(a["witnesses"], a["values"], strict=True):
                frame.loc[_TIME, witness] = number(value)
    return frame.dropna(how="all", axis="index")


def bounds(agreement: Mapping[str, Any]) -> pd.DataFrame:
    """Client and server counts at each bucket bound (seconds), and whether they interleave."""
    columns = ["bound", "client_low", "client_high", "server", "client_with_overhead", "holds"]
    frame = pd.DataFrame(agreement["bounds"], columns=columns)
    return frame.assign(bound=frame["bound"].astype("float64"))


def costs(document: Document) -> pd.DataFrame:
    """Tokens and USD of each window as Langfuse tells them, recomputed, and per request."""
    own = {a["window"]: a for a in document["accounts"] if a["witness"] == "langfuse"}
    fields = ("requests", "llm_calls", "input_tokens", "output_tokens", "cost_usd")
    rows = [
        [number(own.get(w["name"], {}).get(field)) for field in (*fields, "recomputed_usd")]
        for w in document["windows"]
    ]
    frame = pd.DataFrame(
        rows,
        index=[w["name"] for w in document["windows"]],
        columns=[*fields, "recomputed_usd"],
        dtype="float64",
    )
    per = frame["requests"].where(frame["requests"] > 0)
    sessions = agent(document)["sessions"].reindex(frame.index)
    return frame.assign(
        tokens_per_request=(frame["input_tokens"] + frame["output_tokens"]) / per,
        usd_per_request=frame["cost_usd"] / per,
        usd_per_session=frame["cost_usd"] / sessions,
    )


def agent(document: Document) -> pd.DataFrame:
    """What the traces show of the agent: a row for each window, shares and means per request."""
    rows = {t["window"]: _agent(t) for t in document["traces"]}
    columns = ["requests", "succeeded", "llm_calls", "tool_calls", "sessions"]
    frame = pd.DataFrame.from_dict(rows, orient="index", dtype="float64")
    return frame.reindex(columns=columns)


def _agent(trace: Mapping[str, Any]) -> dict[str, float | None]:
    requests = trace["requests"]

    def per_request(count: int) -> float | None:
        return count / requests if requests else None

    return {
        "requests": requests,
        "succeeded": per_request(requests - trace["failed"]),
        "llm_calls": per_request(trace["llm_calls"]),
        "tool_calls": per_request(sum(t["calls"] for t in trace["tools"])),
        "sessions": number(trace["sessions"]),
    }


def tools(document: Document) -> pd.DataFrame:
    """
    How the tools were used in the whole run, the one used most first.

    `share` is of all tool calls; `succeeded` and `hits` are shares of the tool's
    own calls (hits of those that say whether a cache answered), `seconds` their mean.
    """
    counted = ["calls", "failed", "seconds", "told", "hits"]
    rows = [tool for trace in document["traces"] for tool in trace["tools"]]
    frame = pd.DataFrame(rows, columns=["name", *counted]).groupby("name")[counted].sum()
    frame = frame.astype("float64").sort_values("calls", ascending=False, kind="stable")
    return pd.DataFrame(
        {
            "calls": frame["calls"],
            "share": frame["calls"] / frame["calls"].sum(),
            "succeeded": 1 - frame["failed"] / frame["calls"],
            "hits": frame["hits"] / frame["told"].where(frame["told"] > 0),
            "seconds": frame["seconds"] / frame["calls"],
        }
    )


def load(document: Document) -> pd.DataFrame:
    """What the generator says of each window: arrivals, rates, losses, its own delays."""
    client = {a["window"]: a for a in document["accounts"] if a["witness"] == "client"}
    rows = [
        {
            **{name: w[name] for name in ("arrivals", "open_loop", "processes", "stopped_by")},
            **{
                name: number(w[name])
                for name in (
                    "seconds", "planned", "requests", "warmup_requests", "shed", "not_sent",
                    "may_be_lost", "spent_usd", "budget_usd",
                    "offered_rate", "achieved_rate", "lateness_p99", "cpu_share",
                )
            },
            **{
                name: number(client.get(w["name"], {}).get(name))
                for name in ("unanswered", "unsent", "null_probe_p99")
            },
        }
        for w in document["windows"]
    ]  # fmt: skip
    frame = pd.DataFrame(rows, index=[w["name"] for w in document["windows"]])
    return frame.assign(refused=frame["unsent"] - frame["shed"]) if len(frame) else frame


def generator(window: Mapping[str, Any]) -> pd.DataFrame:
    """
    How the load processes fared, a row per piece of the window, by the seconds at its end.

    Columns `lateness` and `loop_lag` are the worst of all in seconds, `machine`
    the share of all cores in use, and `cpu 0`, `cpu 1`, ... the share of one
    core that each process used.
    """
    fared = window["generator"]
    names = [f"cpu {p['process']}" for p in fared["processes"]]
    rows = [
        [number(m["lateness"]), m["loop_lag"], m["machine"], *map(number, m["cpu"])]
        for m in fared["moments"]
    ]
    frame = pd.DataFrame(
        rows,
        index=[m["at"] for m in fared["moments"]],
        columns=["lateness", "loop_lag", "machine", *names],
    )
    return frame.astype("float64")


def curve(document: Document, window: str) -> pd.DataFrame:
    """
    The percentile curve of one window, a row per quantile.

    Columns `response` and `service` are the client's times (the upper edge of
    the HDR cell), `lower` and `upper` the server's bucket, all in seconds.
    """
    columns = {
        ("client", "response_time"): {"high": "response"},
        ("client", "service_time"): {"high": "service"},
        ("metrics", "request time"): {"low": "lower", "high": "upper"},
    }
    points: dict[float, dict[str, float | None]] = {}
    for q in document["curve"]:
        wanted = columns.get((q["witness"], q["time"]))
        if q["window"] == window and wanted and q["value"] is not None:
            point = points.setdefault(q["quantile"], {})
            point.update({name: number(q["value"][end]) for end, name in wanted.items()})
    frame = pd.DataFrame.from_dict(points, orient="index", dtype="float64")
    return frame.reindex(columns=["response", "service", "lower", "upper"]).sort_index()


def _ends(interval: Mapping[str, Any] | None) -> tuple[float | None, float | None]:
    if interval is None:
        return None, None
    return number(interval["low"]), number(interval["high"])


def _limits(
    objective: Mapping[str, Any], m: Mapping[str, Any]
) -> tuple[float | None, float | None]:
    """Confidence limits on a share; None for anything else."""
    low, high = _ends(m["value"])
    if objective["indicator"]["kind"] not in ("latency", "ratio") or low is None or high is None:
        return None, None
    events, confidence = m["events"], objective["confidence"]
    return (
        statistics.share_at_least(round(low * events), events, confidence),
        statistics.share_at_most(round(high * events), events, confidence),
    )
