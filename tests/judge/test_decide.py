"""A verdict is met, missed or inconclusive, and says why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest

from harness.judge import judge
from harness.model import (
    Account,
    Agreement,
    Ask,
    Evidence,
    Finding,
    Indicator,
    Interval,
    Judgement,
    Kind,
    Measurement,
    Objective,
    Status,
    Verdict,
    Window,
)

MET, MISSED, INCONCLUSIVE = Status
AGREE, UNACCOUNTED, CONTRADICTION, NOT_COMPARABLE = Finding
WARM = Window("warm", ("warm",), 0.0, 10.0)


@dataclass(frozen=True)
class Answers:
    """A witness that says the same of everything."""

    witness: str
    answer: Measurement

    def measure(self, indicator: Indicator, windows: tuple[Window, ...]) -> Measurement:
        return self.answer

    def account(self, window: Window) -> Account | None:
        return None


def seen(
    witness: str, low: float | None, high: float | None = None, events: int = 500, note: str = ""
) -> Measurement:
    value = None if low is None else Interval(low, low if high is None else high)
    return Measurement(witness, value, events, "...", note=note)


def objective(kind: Kind, target: float, witnesses: Sequence[str], **changes: object) -> Objective:
    asks = {w: Ask("...") for w in witnesses}
    made = Objective(
        name="it",
        sentence="It holds.",
        scenario="warm",
        indicator=Indicator("it", kind, asks, unit="USD" if kind is Kind.AMOUNT else ""),
        target=target,
        promise="",
        at_least=kind in (Kind.LATENCY, Kind.RATIO),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def decide(
    promised: Objective,
    measurements: Sequence[Measurement],
    agreements: Sequence[Agreement] = (),
    windows: Sequence[Window] = (WARM,),
) -> Verdict:
    evidence: Mapping[str, Evidence] = {m.witness: Answers(m.witness, m) for m in measurements}
    return judge([promised], windows, evidence, agreements).verdicts[0]


# -- one witness --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "status", "reason"),
    [
        pytest.param(
            seen("client", None, events=0, note="it sent no request"), INCONCLUSIVE,
            "no data from client: it sent no request", id="no data is not zero",
        ),
        pytest.param(
            seen("client", 1.0, events=0), INCONCLUSIVE, "no data from client: no events",
            id="a share of no events is no share",
        ),
        pytest.param(
            seen("client", 1.0, events=9), INCONCLUSIVE,
            "client saw 9 events, at least 10 are needed", id="too few events to look at",
        ),
        pytest.param(
            seen("client", 1.0, events=58), INCONCLUSIVE,
            "client: 100 % of 58, so the true share lies between 94.97 % and 100 %, and 95 % is "
            "inside; about 59 events like these would decide it", id="one event too few",
        ),
        pytest.param(
            seen("client", 1.0, events=59), MET,
            "client: 100 % of 59, 95 % sure of at least 95.05 % (95 % promised)",
            id="59 without a failure are enough",
        ),
        pytest.param(
            seen("client", 484 / 500), MET,
            "client: 96.8 % of 500, 95 % sure of at least 95.18 % (95 % promised)",
            id="16 bad ones of 500 are allowed",
        ),
        pytest.param(
            seen("client", 483 / 500), INCONCLUSIVE,
            "client: 96.6 % of 500, so the true share lies between 94.94 % and 97.82 %, and 95 % "
            "is inside; about 530 events like these would decide it", id="but not 17",
        ),
        pytest.param(
            seen("client", 450 / 500), MISSED,
            "client: 90 % of 500, 95 % sure of at most 92.13 % (95 % promised)",
            id="a tenth too slow",
        ),
        pytest.param(
            seen("client", 475 / 500), INCONCLUSIVE,
            "client: 95 % of 500, so the true share lies between 93.09 % and 96.5 %, and 95 % is "
            "inside; no number of events like these would decide it soon",
            id="exactly on the target",
        ),
        pytest.param(
            seen("metrics", 0.5, 1.0), INCONCLUSIVE,
            "metrics: 50 % to 100 % of 500, so the true share lies between 46.23 % and 100 %, and "
            "95 % is inside; it does not know closely enough which requests were within the bound",
            id="the bound lies inside a bucket",
        ),
        pytest.param(
            seen("metrics", 0.98, 1.0), MET,
            "metrics: 98 % to 100 % of 500, 95 % sure of at least 96.63 % (95 % promised)",
            id="a range that is good at both ends",
        ),
        pytest.param(
            seen("metrics", 0.96, 0.97), INCONCLUSIVE,
            "metrics: 96 % to 97 % of 500, so the true share lies between 94.24 % and 98.14 %, "
            "and 95 % is inside; about 1304 events like these would decide it",
            id="a range that is on the good side, but too near",
        ),
    ],
)  # fmt: skip
def test_a_share_of_good_ones(measured: Measurement, status: Status, reason: str):
    promised = objective(Kind.LATENCY, 0.95, [measured.witness], min_events=10)

    verdict = decide(promised, [measured])

    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(
    ("bad", "events", "status", "reason"),
    [
        (0, 59, MET, "metrics: 0 % of 59, 95 % sure of at most 4.95 % (5 % allowed)"),
        (0, 58, INCONCLUSIVE, ("metrics: 0 % of 58, so the true share lies between 0 % and 5.03 %, "
         "and 5 % is inside; about 59 events like these would decide it")),
        (50, 500, MISSED, "metrics: 10 % of 500, 95 % sure of at least 7.87 % (5 % allowed)"),
    ],
)  # fmt: skip
def test_a_share_of_bad_ones(bad: int, events: int, status: Status, reason: str):
    promised = objective(Kind.RATIO, 0.05, ["metrics"], at_least=False)

    verdict = decide(promised, [seen("metrics", bad / events, events=events)])

    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(
    ("kind", "target", "measured", "status", "reason"),
    [
        pytest.param(Kind.COUNT, 0, seen("metrics", 0, events=0), MET,
                     "metrics: 0, at most 0 allowed", id="none, as promised"),
        pytest.param(Kind.COUNT, 0, seen("metrics", 12345), MISSED,
                     "metrics: 12345, at most 0 allowed", id="a count is written in full"),
        pytest.param(Kind.COUNT, 5, seen("metrics", 4, 6), INCONCLUSIVE,
                     "metrics: 5 lies inside what it knows, 4 to 6", id="a count not known exactly"),
        pytest.param(Kind.COUNT, 0, seen("metrics", None, events=0, note="no metric x"),
                     INCONCLUSIVE, "no data from metrics: no metric x",
                     id="a counter that is not there is not zero"),
        pytest.param(Kind.AMOUNT, 0.002, seen("langfuse", 0.00123456), MET,
                     "langfuse: 0.001235 USD, at most 0.002 allowed", id="cheap enough"),
        pytest.param(Kind.AMOUNT, 0.002, seen("langfuse", 0.0021), MISSED,
                     "langfuse: 0.0021 USD, at most 0.002 allowed", id="too dear"),
    ],
)  # fmt: skip
def test_counts_and_amounts(
    kind: Kind, target: float, measured: Measurement, status: Status, reason: str
):
    verdict = decide(objective(kind, target, [measured.witness]), [measured])

    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize(
    ("unit", "target", "ends", "status", "reason"),
    [
        pytest.param("%", 0.05, (-0.01, 0.03), MET,
                     "benchmark: -1 % to 3 %, at most 5 % allowed", id="all of it below"),
        pytest.param("%", 0.05, (-0.01, 0.05), MET,
                     "benchmark: -1 % to 5 %, at most 5 % allowed", id="up to the bound"),
        pytest.param("%", 0.05, (0.05, 0.06), INCONCLUSIVE,
                     "benchmark: 5 % lies inside what it knows, 5 % to 6 %", id="from the bound on"),
        pytest.param("%", 0.05, (0.051, 0.06), MISSED,
                     "benchmark: 5.1 % to 6 %, at most 5 % allowed", id="all of it above"),
        pytest.param("s", 0.05, (0.004, 0.0625), INCONCLUSIVE,
                     "benchmark: 0.05 lies inside what it knows, 0.004 s to 0.0625 s",
                     id="seconds on both sides"),
        pytest.param("", 1.2, (1.125, 1.125), MET,
                     "benchmark: 1.125, at most 1.2 allowed", id="known exactly"),
    ],
)  # fmt: skip
def test_an_amount_known_as_an_interval(
    unit: str, target: float, ends: tuple[float, float], status: Status, reason: str
):
    measured = seen("benchmark", *ends)
    promised = objective(Kind.AMOUNT, target, ["benchmark"])
    promised = replace(promised, indicator=replace(promised.indicator, unit=unit))

    verdict = decide(promised, [measured])

    assert (verdict.status, verdict.reason) == (status, reason)


# -- several witnesses ----------------------------------------------------------------

GOOD, BAD, UNSURE = 1.0, 0.5, 0.95


def between(
    finding: Finding,
    about: str = "requests",
    pair: tuple[str, str] = ("client", "metrics"),
    window: str = "warm",
) -> Agreement:
    return Agreement(window, about, pair, finding, f"{about} {finding}")


@pytest.mark.parametrize(
    ("client", "metrics", "status"),
    [
        pytest.param(GOOD, GOOD, MET, id="both say met"),
        pytest.param(BAD, BAD, MISSED, id="both say missed"),
        pytest.param(GOOD, UNSURE, INCONCLUSIVE, id="one is not sure"),
        pytest.param(BAD, UNSURE, MISSED, id="one is not sure, but the other is"),
        pytest.param(GOOD, None, INCONCLUSIVE, id="one has no data"),
        pytest.param(BAD, None, INCONCLUSIVE, id="one has no data to tell whether it is true"),
    ],
)
def test_two_witnesses(client: float, metrics: float | None, status: Status):
    promised = objective(Kind.LATENCY, 0.95, ["client", "metrics"])

    verdict = decide(promised, [seen("client", client), seen("metrics", metrics)])

    assert verdict.status is status, verdict.reason


@pytest.mark.parametrize(
    ("agreements", "status", "reason"),
    [
        pytest.param([between(AGREE)], MET, None, id="counts agree"),
        pytest.param([between(NOT_COMPARABLE)], MET, None, id="counts cannot be compared"),
        pytest.param([between(CONTRADICTION)], INCONCLUSIVE, "metrics cannot be believed: "
                     "requests in warm: requests contradiction", id="counts differ"),
        pytest.param([between(CONTRADICTION, "tool calls")], INCONCLUSIVE, "metrics cannot be "
                     "believed: tool calls in warm: tool calls contradiction",
                     id="caught on another count"),
        pytest.param([between(CONTRADICTION, "request time")], INCONCLUSIVE, "the witnesses "
                     "contradict each other: request time contradiction", id="times differ"),
        pytest.param([between(CONTRADICTION, window="cold")], MET, None, id="in another window"),
        pytest.param([between(CONTRADICTION, pair=("client", "langfuse"))], MET, None,
                     id="about a witness that is not asked"),
        pytest.param([between(CONTRADICTION, "cost", ("langfuse", "prices"))], MET, None,
                     id="about cost, which is not asked"),
    ],
)  # fmt: skip
def test_whether_the_witnesses_may_be_believed(
    agreements: list[Agreement], status: Status, reason: str | None
):
    promised = objective(Kind.LATENCY, 0.95, ["client", "metrics"])

    verdict = decide(promised, [seen("client", GOOD), seen("metrics", GOOD)], agreements)

    assert verdict.status is status
    assert reason is None or verdict.reason == reason


def test_a_contradiction_about_times_does_not_touch_a_ratio():
    promised = objective(Kind.RATIO, 0.95, ["client", "metrics"])
    measurements = [seen("client", GOOD), seen("metrics", GOOD)]

    assert decide(promised, measurements, [between(CONTRADICTION, "request time")]).status is MET


def test_a_ratio_of_a_witness_that_contradicts_the_client_is_inconclusive():
    """The client is not asked for the ratio, but it knows what the others should have seen."""
    promised = objective(Kind.RATIO, 0.95, ["metrics"])

    verdict = decide(promised, [seen("metrics", GOOD)], [between(CONTRADICTION)])

    assert verdict.status is INCONCLUSIVE


@pytest.mark.parametrize(
    ("finding", "status", "reason"),
    [
        (AGREE, MET, "langfuse: 0.001 USD, at most 0.002 allowed"),
        (CONTRADICTION, INCONCLUSIVE, "the witnesses contradict each other: cost contradiction"),
        (NOT_COMPARABLE, INCONCLUSIVE, "the cost cannot be checked: cost not comparable"),
    ],
)
def test_a_cost_that_cannot_be_recomputed_is_not_cheap(
    finding: Finding, status: Status, reason: str
):
    promised = objective(Kind.AMOUNT, 0.002, ["langfuse"])
    agreements = [between(finding, "cost", ("langfuse", "prices"))]

    verdict = decide(promised, [seen("langfuse", 0.001)], agreements)

    assert (verdict.status, verdict.reason) == (status, reason)


def test_opposite_witnesses_are_inconclusive_and_both_are_quoted():
    promised = objective(Kind.LATENCY, 0.95, ["client", "metrics"])

    verdict = decide(
        promised,
        [seen("client", BAD), seen("metrics", GOOD)],
        [between(UNACCOUNTED, "request time")],
    )

    assert (verdict.status, verdict.reason) == (
        INCONCLUSIVE,
        (
            "the witnesses lead to opposite verdicts (request time unaccounted time): "
            "client: 50 % of 500, 95 % sure of at most 53.77 % (95 % promised); "
            "metrics: 100 % of 500, 95 % sure of at least 99.4 % (95 % promised)"
        ),
    )


@pytest.mark.parametrize(("share", "status"), [(GOOD, MET), (BAD, MISSED)])
def test_unaccounted_time_is_told_but_does_not_decide(share: float, status: Status):
    promised = objective(Kind.LATENCY, 0.95, ["client"])
    promised = replace(
        promised, indicator=replace(promised.indicator, asks={"client": Ask(), "metrics": Ask()})
    )

    verdict = decide(
        promised,
        [seen("client", share), seen("metrics", share)],
        [between(UNACCOUNTED, "request time")],
    )

    assert verdict.status is status
    assert verdict.reason.endswith("; but request time unaccounted time")


def test_a_witness_that_is_missing_altogether():
    promised = objective(Kind.RATIO, 0.95, ["client", "langfuse"])

    verdict = decide(promised, [seen("client", GOOD)])

    assert (verdict.status, verdict.reason) == (
        INCONCLUSIVE, "no data from langfuse: it is missing",
    )  # fmt: skip


# -- which windows --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "windows", "reason"),
    [
        pytest.param("hot", [WARM], "hot was not run", id="not run"),
        pytest.param("all", [], "no scenario was run", id="nothing was run"),
        pytest.param(
            "warm", [Window("mixed", ("cold", "warm"), 0, 9)],
            "warm ran together with other scenarios, and the server's counters cannot tell them "
            "apart; run it alone", id="a mixed window",
        ),
    ],
)  # fmt: skip
def test_an_objective_without_a_window_of_its_own(
    scenario: str, windows: list[Window], reason: str
):
    promised = objective(Kind.RATIO, 0.95, ["client"], scenario=scenario)

    verdict = decide(promised, [seen("client", GOOD)], windows=windows)

    assert (verdict.status, verdict.reason) == (INCONCLUSIVE, reason)
    assert verdict.measurements == (Measurement("client", None, 0, "...", note=reason),)


def test_all_means_every_window_even_a_mixed_one():
    promised = objective(Kind.RATIO, 0.95, ["client"], scenario="all")

    verdict = decide(
        promised, [seen("client", GOOD)], windows=[WARM, Window("mixed", ("a", "b"), 0, 9)]
    )

    assert verdict.status is MET


# -- the run as a whole -----------------------------------------------------------------


def overall(
    *shares: tuple[float, bool],
    agreements: Sequence[Agreement] = (between(AGREE),),
    missing: Sequence[str] = (),
) -> Judgement:
    """Judge objectives a, b, ... of these shares, each a gate or not."""
    objectives = [
        objective(Kind.RATIO, 0.95, [f"w{i}"], name="abc"[i], gate=gate)
        for i, (_, gate) in enumerate(shares)
    ]
    evidence = {f"w{i}": Answers(f"w{i}", seen(f"w{i}", s)) for i, (s, _) in enumerate(shares)}
    return judge(objectives, [WARM], evidence, agreements, missing)


MISSED_A = "w0: 50 % of 500, 95 % sure of at most 53.77 % (95 % promised)"
GATE, TRACKED = True, False


@pytest.mark.parametrize(
    ("judgement", "status", "sentence"),
    [
        pytest.param(overall((GOOD, GATE)), MET,
                     "Met: the gate is kept, and the witnesses agree.", id="one gate"),
        pytest.param(overall((GOOD, GATE), (GOOD, GATE)), MET,
                     "Met: both gates are kept, and the witnesses agree.", id="two gates"),
        pytest.param(overall((GOOD, GATE), (GOOD, GATE), (GOOD, GATE)), MET,
                     "Met: all 3 gates are kept, and the witnesses agree.", id="three gates"),
        pytest.param(overall((GOOD, GATE), (BAD, TRACKED), (UNSURE, TRACKED)), MET,
                     "Met: the gate is kept, and the witnesses agree. Tracked and missed: b. "
                     "Tracked and inconclusive: c.", id="a tracked objective does not decide"),
        pytest.param(overall((GOOD, GATE), agreements=[]), MET,
                     "Met: the gate is kept, and no witness contradicts another.",
                     id="nobody to agree with"),
        pytest.param(overall((GOOD, GATE), agreements=[between(AGREE), between(NOT_COMPARABLE)]),
                     MET, "Met: the gate is kept, and no witness contradicts another.",
                     id="not all can be compared"),
        pytest.param(overall((GOOD, GATE), agreements=[between(UNACCOUNTED, "request time")]), MET,
                     "Met: the gate is kept, and the counts agree. But in warm, request time "
                     "unaccounted time.", id="unaccounted time is said on top"),
        pytest.param(overall((BAD, GATE), (GOOD, GATE)), MISSED,
                     f"Missed: the gate a was not kept. {MISSED_A}.", id="a gate missed"),
        pytest.param(overall((BAD, GATE), (BAD, GATE)), MISSED,
                     f"Missed: the gates a, b were not kept. {MISSED_A}.", id="both gates missed"),
        pytest.param(overall((BAD, GATE), missing=["no evidence at all of cold"]), MISSED,
                     f"Missed: the gate a was not kept. {MISSED_A}.",
                     id="a missed gate beats a missing witness"),
        pytest.param(overall((BAD, GATE), agreements=[between(CONTRADICTION)]), MISSED,
                     f"Missed: the gate a was not kept. {MISSED_A}.",
                     id="a missed gate beats a contradiction about others"),
        pytest.param(overall((GOOD, GATE), missing=["no evidence at all of cold", "x"]),
                     INCONCLUSIVE, "Inconclusive: no evidence at all of cold.",
                     id="something is missing"),
        pytest.param(overall((GOOD, GATE), agreements=[between(CONTRADICTION)]), INCONCLUSIVE,
                     "Inconclusive: client and metrics contradict each other on requests in warm: "
                     "requests contradiction.", id="a contradiction anywhere"),
        pytest.param(overall((UNSURE, GATE)), INCONCLUSIVE,
                     "Inconclusive: gate a: w0: 95 % of 500, so the true share lies between "
                     "93.09 % and 96.5 %, and 95 % is inside; no number of events like these "
                     "would decide it soon.", id="an open gate"),
        pytest.param(overall((GOOD, TRACKED)), INCONCLUSIVE,
                     "Inconclusive: no objective is marked as a gate.", id="no gate"),
    ],
)  # fmt: skip
def test_the_run_as_a_whole(judgement: Judgement, status: Status, sentence: str):
    assert (judgement.status, judgement.sentence) == (status, sentence)


def test_a_latency_beyond_all_buckets_is_still_a_share():
    measured = replace(seen("metrics", 0.5), quantile=Interval(10.0, math.inf))

    assert decide(objective(Kind.LATENCY, 0.95, ["metrics"]), [measured]).status is MISSED


# -- doubts and remarks --------------------------------------------------------------------


def test_nothing_is_decided_in_a_window_of_which_nothing_can_be_said():
    promised = objective(Kind.RATIO, 0.95, ["client"], gate=True)
    evidence = {"client": Answers("client", seen("client", 0.5))}
    cold = replace(WARM, name="cold", scenarios=("cold",))
    other = replace(promised, name="other", scenario="cold")

    found = judge([promised, other], [WARM, cold], evidence, [], doubts={"warm": "it was slow"})

    assert [(v.status, v.reason[:21]) for v in found.verdicts] == [
        (INCONCLUSIVE, "in warm, it was slow"), (MISSED, "client: 50 % of 500, "),
    ]  # fmt: skip
    assert found.verdicts[0].measurements[0].value == Interval.exactly(0.5), "it is shown still"


def test_a_doubt_on_one_window_is_a_doubt_on_what_is_promised_of_all():
    promised = objective(Kind.COUNT, 0, ["client"], scenario="all")
    evidence = {"client": Answers("client", seen("client", 0))}

    found = judge([promised], [WARM], evidence, [], doubts={"warm": "it was slow"})

    assert (found.verdicts[0].status, found.verdicts[0].reason) == (
        INCONCLUSIVE, "in warm, it was slow",
    )  # fmt: skip


def test_a_doubt_on_a_window_is_none_on_what_was_measured_apart():
    promised = objective(Kind.AMOUNT, 1.0, ["benchmark"], scenario="all")
    asks = {"benchmark": Ask("figure", benchmark="observability")}
    promised = replace(promised, indicator=replace(promised.indicator, asks=asks))
    evidence = {"benchmark": Answers("benchmark", seen("benchmark", 0.5))}

    found = judge([promised], [WARM], evidence, [], doubts={"warm": "it was slow"})

    assert found.verdicts[0].status is MET


def test_remarks_follow_the_sentence():
    promised = objective(Kind.COUNT, 0, ["client"], gate=True)
    evidence = {"client": Answers("client", seen("client", 0))}

    found = judge([promised], [WARM], evidence, [], remarks=["In warm, 3 were shed.", "More."])

    assert found.sentence == (
        "Met: the gate is kept, and no witness contradicts another. In warm, 3 were shed. More."
    )
