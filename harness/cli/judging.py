"""Judge a run directory: read its evidence, reconcile, decide, write verdicts.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.evidence.benchmarks import BenchmarkEvidence
from harness.evidence.client import ClientEvidence
from harness.evidence.generator import generator_view
from harness.evidence.langfuse import NO_PRICES, LangfuseEvidence
from harness.evidence.metrics import MetricsEvidence
from harness.judge.decide import judge
from harness.judge.document import document
from harness.judge.generator import Sending, bottleneck, late_p99
from harness.judge.latencies import latencies
from harness.judge.reconcile import compare_cost, reconcile
from harness.model import Account, Agreement, Evidence, Run, Window
from harness.prices import load_prices
from harness.report.figures import usd
from harness.runs import RunDirectory, WindowRecord
from harness.slo import Slo, load_slo


def judge_run(directory: RunDirectory, slo_path: Path, prices_path: Path | None) -> dict[str, Any]:
    """
    Judge a run by some promises and prices, write verdicts.json, and give what it holds.

    Needs no server, and gives the same bytes for the same evidence. Raises
    YamlError, RunError or FiguresError when a file is wrong.
    """
    run = directory.read_run()
    slo, prices = load_slo(slo_path), None if prices_path is None else load_prices(prices_path)
    records = [directory.read_window(name) for name in directory.window_names()]
    windows = [record.window for record in records]
    client, langfuse = ClientEvidence(directory), LangfuseEvidence(directory, prices)
    evidence: dict[str, Evidence] = {
        e.witness: e
        for e in (client, MetricsEvidence(directory, slo.reconciliation), langfuse)
        if e.witness in slo.witnesses
    }
    figures = BenchmarkEvidence(directory, slo.benchmarks)
    evidence[figures.witness] = figures
    accounts = [
        (w, account) for w in windows for e in evidence.values() if (account := e.account(w))
    ]
    recomputed = {w.name: langfuse.recomputed_cost(w) for w in windows}
    agreements = [
        a
        for window in windows
        for a in _agreements(window, accounts, recomputed[window.name], slo)
    ]
    sending = {window.name: _sending(directory, window, client) for window in windows}
    bottlenecks = {name: found for name, sent in sending.items() if (found := bottleneck(sent))}
    judgement = judge(
        figures.measured(slo.objectives),
        windows,
        evidence,
        agreements,
        _missing(run, records, accounts, slo, bottlenecks),
        sending=sending,
        doubts=bottlenecks,
        remarks=[remark for record in records if (remark := _shed(record))],
    )
    table, curve = latencies(windows, evidence, slo.reconciliation.requests)
    verdicts = document(
        run,
        [_window_facts(directory, r, client) for r in records],
        judgement,
        accounts,
        {name: cost for name, (cost, _) in recomputed.items()},
        table,
        curve,
        {"slo": _digest(slo_path), "prices": _digest(prices_path)},
        figures.facts(run, slo.objectives),
        figures.unmeasured(slo.objectives),
        [
            {"window": w.name, **asdict(view)}
            for w in windows
            if (view := langfuse.view(w)) is not None
        ],
    )
    text = json.dumps(verdicts, indent=1, ensure_ascii=False) + "\n"
    (directory.path / "verdicts.json").write_text(text, encoding="utf-8")
    return verdicts


def _agreements(
    window: Window,
    accounts: list[tuple[Window, Account]],
    recomputed: tuple[float | None, str],
    slo: Slo,
) -> list[Agreement]:
    own = [account for w, account in accounts if w == window]
    allowed = slo.reconciliation
    found = reconcile(
        window.name,
        own,
        overhead=allowed.overhead,
        overhead_limit=allowed.overhead_limit,
        stragglers=allowed.stragglers,
    )
    for account in own:
        if account.witness == "langfuse" and not _without_chats(account, own):
            cost, problem = recomputed
            found.append(compare_cost(window.name, account, cost, problem, allowed.cost_within))
    return found


def _without_chats(langfuse: Account, accounts: list[Account]) -> bool:
    """Whether nothing was sent that could call an LLM and cost anything, and nothing did."""
    client = next((a for a in accounts if a.witness == "client"), None)
    nothing_traced = client is not None and client.requests == client.untraced
    return nothing_traced and not langfuse.problem and not langfuse.llm_calls


def _missing(
    run: Run,
    records: list[WindowRecord],
    accounts: list[tuple[Window, Account]],
    slo: Slo,
    bottlenecks: Mapping[str, str],
) -> list[str]:
    """Say what should be there and is not, in plain words, the gravest first."""
    missing = []
    if run.interrupted:
        missing.append("the run was interrupted; what it has is judged, the rest is missing")
    missing += [f"in {name}, {found}" for name, found in bottlenecks.items()]
    have = {record.window.name for record in records}
    lost = [name for name in run.expected_windows if name not in have]
    if lost:
        missing.append(f"no evidence at all of {', '.join(lost)}")
    for record in records:
        for witness in slo.witnesses:
            account = next(
                (a for w, a in accounts if w == record.window and a.witness == witness), None
            )
            if account is None or account.problem:
                why = account.problem if account else "it left no evidence"
                missing.append(f"the {witness} witness is missing in {record.window.name}: {why}")
        missing += [f"in {record.window.name}, {problem}" for problem in _incomplete(record)]
    return missing


def _sending(directory: RunDirectory, window: Window, client: ClientEvidence) -> Sending:
    return Sending(
        directory.read_generator(window.name),
        client.lateness(window),
        client.response_median(window),
        window.duration,
    )


def _incomplete(record: WindowRecord) -> list[str]:
    """What the generator itself says it did not do, or cannot vouch for."""
    problems = list(record.notes)
    if record.may_be_lost:
        problems.append(
            f"up to {record.may_be_lost} requests may be missing: load processes were lost before "
            "they told of them"
        )
    if record.planned is not None and record.begun is None:
        problems.append("the load ended before its schedule did")
    elif _not_sent(record) and not record.stopped_by:
        shed = f", {record.shed} were shed" if record.shed else ""
        problems.append(f"{record.planned} arrivals were planned and {record.begun} began{shed}")
    if record.begun is not None and record.requests < record.begun and not record.stopped_by:
        problems.append(f"{record.begun} arrivals sent only {record.requests} requests")
    counted = record.locust_requests
    if counted is not None and counted != record.requests + record.warmup_requests:
        problems.append(f"Locust counts {counted} requests, the rows are {record.requests}")
    return problems


def _not_sent(record: WindowRecord) -> int | None:
    """How many of the planned arrivals were neither begun nor shed; None without a plan."""
    if record.planned is None:
        return None
    return record.planned - (record.begun or 0) - record.shed


def _shed(record: WindowRecord) -> str:
    """Name what was turned away by the load's own ceiling; "" when nothing was."""
    if not record.shed:
        return ""
    of = "" if record.planned is None else f" of {record.planned}"
    return (
        f"In {record.window.name}, {record.shed}{of} journeys were shed: too many were under way. "
        "They count as failed."
    )


def _notices(record: WindowRecord) -> list[str]:
    """What a reader must know of how the load went, though it is no fault of it."""
    notices = []
    if record.stopped_by:
        notices.append(f"the sending ended early: {record.stopped_by}")
    if record.spent_usd is not None:
        notices.append(_spending(record.spent_usd, record.budget_usd))
    if record.clamped:
        notices.append(
            f"{record.clamped} times were below zero or above an hour, and count as that"
        )
    return notices


def _spending(spent: float, budget: float | None) -> str:
    """Say what was spent; the price of an answer is known when it is there, so it may be more."""
    if budget is None:
        return f"spent {usd(spent)}"
    said = f"spent {usd(spent)} of {usd(budget)}"
    if spent <= budget:
        return said
    return (
        f"{said}, {usd(spent - budget)} more than allowed: what a request costs is known once it "
        "is answered, and some were under way"
    )


def _window_facts(
    directory: RunDirectory, record: WindowRecord, client: ClientEvidence
) -> dict[str, Any]:
    window = record.window
    # Requests under way at the end lengthen the window, not the schedule.
    sending = record.scheduled_seconds or window.duration
    return {
        "name": window.name,
        "scenarios": window.scenarios,
        "start": window.start,
        "end": window.end,
        "seconds": window.duration,
        "arrivals": record.arrivals,
        "open_loop": record.open_loop,
        "processes": record.processes,
        "planned": record.planned,
        "begun": record.begun,
        "requests": record.requests,
        "shed": record.shed,
        "not_sent": _not_sent(record),
        "may_be_lost": record.may_be_lost,
        "stopped_by": record.stopped_by,
        "spent_usd": record.spent_usd,
        "budget_usd": record.budget_usd,
        "warmup_requests": record.warmup_requests,
        "achieved_rate": (record.requests if record.begun is None else record.begun) / sending,
        "offered_rate": None if record.planned is None else record.planned / sending,
        "lateness_p99": late_p99(client.lateness(window)),
        "cpu_share": record.cpu_share,
        "failures": client.failures(window),
        "notes": record.notes,
        "notices": _notices(record),
        "generator": asdict(generator_view(directory.read_generator(window.name), window)),
    }


def _digest(path: Path | None) -> str:
    if path is None:
        return NO_PRICES
    return f"{path.name} (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]})"
