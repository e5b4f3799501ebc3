"""Was the promise kept? First whether the witnesses may be believed, then the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.judge import statistics
from harness.judge.generator import Sending, lateness_carried, standstill_carried
from harness.judge.reconcile import COST, TIME, impeached
from harness.model import (
    Agreement,
    Evidence,
    Finding,
    Interval,
    Judgement,
    Kind,
    Measurement,
    Objective,
    Status,
    Verdict,
    Window,
)


def judge(
    objectives: Sequence[Objective],
    windows: Sequence[Window],
    evidence: Mapping[str, Evidence],
    agreements: Sequence[Agreement],
    missing: Sequence[str] = (),
    *,
    sending: Mapping[str, Sending] | None = None,
    doubts: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> Judgement:
    """
    Judge every objective, and the run as a whole.

    `missing` are witnesses and windows that should be there and are not, in
    plain words; with any of them the run cannot be called met. `sending` tells
    how the load of each window was sent, by name: a latency that only the
    generator itself carried over its bound is not missed. `doubts` say of
    windows why nothing that happened in them can be decided. `remarks` are said
    after the sentence on top, whatever it is.
    """
    verdicts = tuple(
        _verdict(o, windows, evidence, agreements, sending or {}, doubts or {}) for o in objectives
    )
    status, sentence = _overall(verdicts, agreements, missing)
    sentence = " ".join((sentence, *remarks))
    return Judgement(status, sentence, verdicts, tuple(agreements), tuple(missing))


def _verdict(
    objective: Objective,
    windows: Sequence[Window],
    evidence: Mapping[str, Evidence],
    agreements: Sequence[Agreement],
    sending: Mapping[str, Sending],
    doubts: Mapping[str, str],
) -> Verdict:
    asked_of, problem = _windows_of(objective.scenario, windows)
    measurements = tuple(
        evidence[witness].measure(objective.indicator, asked_of)
        if witness in evidence and asked_of
        else Measurement(witness, None, 0, str(ask), note=problem or "it is missing")
        for witness, ask in objective.indicator.asks.items()
    )
    measurements = tuple(_with_events(objective, m) for m in measurements)
    relevant = _relevant(objective, asked_of, agreements)
    if not problem and any(not ask.benchmark for ask in objective.indicator.asks.values()):
        problem = next(
            (f"in {w.name}, {doubts[w.name]}" for w in asked_of if w.name in doubts), ""
        )
    sent = Sending.together([sending[w.name] for w in asked_of if w.name in sending])
    status, reason = (
        (Status.INCONCLUSIVE, problem)
        if problem
        else _decide(objective, measurements, relevant, sent)
    )
    return Verdict(objective, status, reason, measurements, relevant)


def _windows_of(scenario: str, windows: Sequence[Window]) -> tuple[tuple[Window, ...], str]:
    """Windows that an objective is about, or why there are none."""
    if scenario == "all":
        return tuple(windows), "" if windows else "no scenario was run"
    own = tuple(w for w in windows if w.scenarios == (scenario,))
    if own:
        return own, ""
    if any(scenario in w.scenarios for w in windows):
        return (), (
            f"{scenario} ran together with other scenarios, and the server's counters cannot tell "
            "them apart; run it alone"
        )
    return (), f"{scenario} was not run"


def _relevant(
    objective: Objective, windows: Sequence[Window], agreements: Sequence[Agreement]
) -> tuple[Agreement, ...]:
    """Agreements that bear on an objective: its windows, its witnesses, its kind."""
    names = {w.name for w in windows}
    asked = {*objective.indicator.asks, "client"}
    of_cost = {*asked, "prices"}
    kind = objective.indicator.kind
    bearing = {TIME: kind is Kind.LATENCY, COST: kind is Kind.AMOUNT}
    return tuple(
        a
        for a in agreements
        if a.window in names
        and set(a.witnesses) <= (of_cost if a.about == COST else asked)
        and bearing.get(a.about, True)
    )


def _decide(
    objective: Objective,
    measurements: Sequence[Measurement],
    agreements: Sequence[Agreement],
    sent: Sending,
) -> tuple[Status, str]:
    doubt = _doubt_in_witnesses(measurements, agreements) or _doubt_in_evidence(
        objective, measurements, agreements
    )
    if doubt:
        return Status.INCONCLUSIVE, doubt
    decisions = {m.witness: _decide_one(objective, m, sent) for m in measurements}
    return _together(decisions, agreements)


def _doubt_in_witnesses(
    measurements: Sequence[Measurement], agreements: Sequence[Agreement]
) -> str:
    """Say which witness is silent or not to be believed; "" when all may be heard."""
    unbelieved = impeached(agreements)
    for m in measurements:
        if m.value is None:
            return f"no data from {m.witness}: {m.note}"
    for m in measurements:
        if m.witness in unbelieved:
            return f"{m.witness} cannot be believed: {unbelieved[m.witness]}"
    contradiction = next((a for a in agreements if a.finding is Finding.CONTRADICTION), None)
    return f"the witnesses contradict each other: {contradiction.reason}" if contradiction else ""


def _doubt_in_evidence(
    objective: Objective, measurements: Sequence[Measurement], agreements: Sequence[Agreement]
) -> str:
    """Say why what was heard does not suffice; "" when it does."""
    for a in agreements:
        if a.about == COST and a.finding is Finding.NOT_COMPARABLE:
            return f"the cost cannot be checked: {a.reason}"
        if a.finding is Finding.UNACCOUNTED_TIME and "client" not in objective.indicator.asks:
            return f"only the clients felt it, and they are not asked: {a.reason}"
    if objective.indicator.kind in (Kind.LATENCY, Kind.RATIO):
        for m in measurements:
            if m.events < objective.min_events:
                needed = objective.min_events
                return f"{m.witness} saw {m.events} events, at least {needed} are needed"
    return ""


def _together(
    decisions: Mapping[str, tuple[Status, str]], agreements: Sequence[Agreement]
) -> tuple[Status, str]:
    """Join what each witness leads to; kept for one and broken for another is neither."""
    found = {status for status, _ in decisions.values()}
    words = "; ".join(f"{witness}: {reason}" for witness, (_, reason) in decisions.items())
    lost = next((a for a in agreements if a.finding is Finding.UNACCOUNTED_TIME), None)
    if {Status.MET, Status.MISSED} <= found:
        because = f" ({lost.reason})" if lost else ""
        return Status.INCONCLUSIVE, f"the witnesses lead to opposite verdicts{because}: {words}"
    if lost:
        words += f"; but {lost.reason}"
    for status in (Status.MISSED, Status.INCONCLUSIVE):
        if status in found:
            return status, words
    return Status.MET, words


def _decide_one(objective: Objective, m: Measurement, sent: Sending) -> tuple[Status, str]:
    """Decide by one witness alone."""
    if m.value is None:
        msg = f"{m.witness} has no value"
        raise ValueError(msg)
    if objective.indicator.kind in (Kind.COUNT, Kind.AMOUNT):
        return _decide_amount(objective, m.value)
    status, reason = _decide_share(objective, m.value.low, m.value.high, m.events)
    if status is Status.MISSED and (excuse := _carried(objective, m, sent)):
        return Status.INCONCLUSIVE, f"{reason}, but {excuse}"
    return status, reason


def _carried(objective: Objective, m: Measurement, sent: Sending) -> str:
    """Say that the generator itself may have carried a latency over its bound; "" if not so."""
    quantile, bound = objective.indicator.quantile, objective.indicator.bound
    if m.witness != "client" or m.quantile is None or quantile is None or bound is None:
        return ""
    if m.punctual is not None and m.punctual_quantile is not None:
        status, _ = _decide_share(objective, m.punctual.low, m.punctual.high, m.events)
        if status is not Status.MISSED:
            return lateness_carried(sent, quantile, m)
    return standstill_carried(sent, quantile, bound, m.punctual_quantile or m.quantile)


def _decide_amount(objective: Objective, value: Interval) -> tuple[Status, str]:
    """Decide on a number itself: all that it may be must be on one side of the bound."""
    indicator = objective.indicator
    if indicator.unit == "%":
        low, high, target = (_percent(v) for v in (value.low, value.high, objective.target))
    else:
        unit = f" {indicator.unit}".rstrip()
        form = ".0f" if indicator.kind is Kind.COUNT else ".4g"
        low, high = (f"{v:{form}}{unit}" for v in (value.low, value.high))
        target = f"{objective.target:g}"
    if value.low <= objective.target < value.high:
        return Status.INCONCLUSIVE, f"{target} lies inside what it knows, {low} to {high}"
    seen = low if value.low == value.high else f"{low} to {high}"
    status = Status.MET if value.high <= objective.target else Status.MISSED
    return status, f"{seen}, at most {target} allowed"


def _decide_share(
    objective: Objective, low: float, high: float, events: int
) -> tuple[Status, str]:
    """Decide on a share by the one-sided confidence limits on it, each at its unkind end."""
    least = statistics.share_at_least(round(low * events), events, objective.confidence)
    most = statistics.share_at_most(round(high * events), events, objective.confidence)
    sure = f"{_percent(objective.confidence)} sure"
    seen = _percent(low) if low == high else f"{_percent(low)} to {_percent(high)}"
    what = f"{seen} of {events}"
    target = _percent(objective.target)
    if objective.at_least:
        if least >= objective.target:
            return Status.MET, f"{what}, {sure} of at least {_percent(least)} ({target} promised)"
        if most < objective.target:
            return Status.MISSED, f"{what}, {sure} of at most {_percent(most)} ({target} promised)"
    else:
        if most <= objective.target:
            return Status.MET, f"{what}, {sure} of at most {_percent(most)} ({target} allowed)"
        if least > objective.target:
            return (
                Status.MISSED,
                f"{what}, {sure} of at least {_percent(least)} ({target} allowed)",
            )
    return Status.INCONCLUSIVE, (
        f"{what}, so the true share lies between {_percent(least)} and {_percent(most)}, and "
        f"{target} is inside; {_what_would_decide(objective, low, high, events)}"
    )


def _what_would_decide(objective: Objective, low: float, high: float, events: int) -> str:
    """Say how many events would decide it, or that no number would."""
    if low < objective.target <= high:
        return "it does not know closely enough which requests were within the bound"
    needed = [
        statistics.events_to_decide(share, objective.target, objective.confidence, events)
        for share in (low, high)
    ]
    if None in needed:
        return "no number of events like these would decide it soon"
    return f"about {max(n for n in needed if n)} events like these would decide it"


def _percent(share: float) -> str:
    return f"{round(100 * share, 2):g} %"


def _with_events(objective: Objective, m: Measurement) -> Measurement:
    """Drop a value without events behind it: a share of nothing is not a number."""
    is_share = objective.indicator.kind in (Kind.LATENCY, Kind.RATIO)
    if m.value is not None and is_share and m.events < 1:
        return replace(m, value=None, note=m.note or "no events")
    return m


def _overall(
    verdicts: Sequence[Verdict], agreements: Sequence[Agreement], missing: Sequence[str]
) -> tuple[Status, str]:
    gates = [v for v in verdicts if v.objective.gate]
    missed = [v for v in gates if v.status is Status.MISSED]
    if missed:
        names = ", ".join(v.objective.name for v in missed)
        were = "gate {} was" if len(missed) == 1 else "gates {} were"
        return Status.MISSED, (f"Missed: the {were.format(names)} not kept. {missed[0].reason}.")
    open_gates = [v for v in gates if v.status is Status.INCONCLUSIVE]
    contradictions = [a for a in agreements if a.finding is Finding.CONTRADICTION]
    if missing:
        return Status.INCONCLUSIVE, f"Inconclusive: {missing[0]}."
    if contradictions:
        a = contradictions[0]
        return Status.INCONCLUSIVE, (
            f"Inconclusive: {a.witnesses[0]} and {a.witnesses[1]} contradict each other on "
            f"{a.about} in {a.window}: {a.reason}."
        )
    if open_gates:
        v = open_gates[0]
        return Status.INCONCLUSIVE, f"Inconclusive: gate {v.objective.name}: {v.reason}."
    if not gates:
        return Status.INCONCLUSIVE, "Inconclusive: no objective is marked as a gate."
    lost = [a for a in agreements if a.finding is Finding.UNACCOUNTED_TIME]
    tail = f" But in {lost[0].window}, {lost[0].reason}." if lost else ""
    for status in (Status.MISSED, Status.INCONCLUSIVE):
        tracked = ", ".join(v.objective.name for v in verdicts if v.status is status)
        tail += f" Tracked and {status}: {tracked}." if tracked else ""
    if lost:
        agree = "the counts agree"
    elif {a.finding for a in agreements} == {Finding.AGREE}:
        agree = "the witnesses agree"
    else:
        agree = "no witness contradicts another"
    kept = {1: "the gate is", 2: "both gates are"}.get(len(gates), f"all {len(gates)} gates are")
    return Status.MET, f"Met: {kept} kept, and {agree}.{tail}"
