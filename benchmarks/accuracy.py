"""How right the load engine's quantiles are, against servers that know the truth."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from figures import Figures, quantile
from load_runs import Loaded, run_load, run_plain, scripted_target
from scripted_target import FREEZE_EVERY_SECONDS, USUAL_SECONDS, Truth
from truth import QUANTILES, Error, error, even_schedule, own_statistics, true_response_times

RATES = {"50": "at50", "200": "at200"}
"""Requests a second, and the scenario that sends them."""
EVEN_RATE = 100
PACED_USERS = 10

ERRORS = ("p50", "p95", "p99")


def spread(name: str, values: Sequence[float]) -> Figures:
    """Give the median of some repetitions, and the smallest and largest."""
    return {
        name: statistics.median(values),
        f"{name}_low": min(values),
        f"{name}_high": max(values),
    }


def measure_errors(folder: Path, seconds: float, repetitions: int) -> tuple[Figures, list[Loaded]]:
    """
    Compare the run's quantiles of service time with the server's, and Locust's own with them.

    The plain names have the worse of both rates.
    """
    found: dict[str, list[Mapping[str, float]]] = {rate: [] for rate in RATES}
    runs = []
    for repetition in range(repetitions):
        for rate, scenario in RATES.items():
            reports = folder / f"{scenario}-{repetition}"
            with scripted_target("log_normal") as target:
                run = run_load(scenario, target, reports, seconds)
                found[rate].append(_errors(run, target.truth()))
            runs.append(run)
    figures: Figures = {}
    for rate, repeated in found.items():
        for name in repeated[0]:
            figures |= spread(f"{name}_at_{rate}", [figure[name] for figure in repeated])
    for name in found["50"][0]:
        by_rate = {figures[f"{name}_at_{rate}"]: rate for rate in RATES}
        worst = by_rate[max(by_rate)]
        for end in ("", "_low", "_high"):
            figures[f"{name}{end}"] = figures[f"{name}_at_{worst}{end}"]
    return figures, runs


def _errors(run: Loaded, truth: Truth) -> Figures:
    served = {trace_id: answered - came for trace_id, came, answered in truth.answered}
    true = [served[sample.trace_id] for sample in run.samples]
    ours = run.times("service_time")
    if not len(served) == len(true) == ours.count:
        raise RuntimeError(
            f"the target answered {len(served)} chats, the run has {len(true)} rows, and its "
            f"histogram {ours.count} good answers: these are not the same requests"
        )
    own = own_statistics(run.log)
    figures: Figures = {}
    for name in ERRORS:
        share = QUANTILES[name]
        exact = quantile(true, share)
        found = ours.quantile(share)
        if found is None:
            raise RuntimeError("the run measured no service time")
        figures |= _named(f"err_{name}", error(found.high, exact))
        figures |= _named(f"locust_err_{name}", error(own[share], exact))
    return figures


def _named(name: str, wrong: Error) -> Figures:
    return {name: abs(wrong.relative), f"{name}_seconds": abs(wrong.seconds)}


def measure_freezes(
    folder: Path, seconds: float, repetitions: int
) -> tuple[Figures, list[Loaded]]:
    """
    Ask a server that freezes, at an even rate, and compare the p90 of response time.

    The same server is asked by plain Locust, whose users wait while it is frozen.
    """
    ours, closed, sent, runs = [], [], [], []
    for repetition in range(repetitions):
        with scripted_target("freezing") as target:
            run = run_load("evenly", target, folder / f"evenly-{repetition}", seconds)
            runs.append(run)
            planned = run.window.planned or 0
            first = min(sample.intended_start for sample in run.samples)
            true = _true_p90(first, planned, target.truth())
        found = run.times("response_time").quantile(QUANTILES["p90"])
        if found is None:
            raise RuntimeError("the run measured no response time")
        ours.append(found.high / true)
        sent.append(run.window.requests / planned)
        closed.append(_closed_loop_ratio(folder, seconds))
    return {
        **spread("freeze_p90_ratio", ours),
        **spread("sent_ratio", sent),
        **spread("closed_loop_p90_ratio", closed),
    }, runs


def _closed_loop_ratio(folder: Path, seconds: float) -> float:
    with scripted_target("freezing") as target:
        words = run_plain("Paced", target, folder, PACED_USERS, seconds)
        truth = target.truth()
    if truth.first is None:
        raise RuntimeError(f"plain Locust sent nothing:\n{words}")
    true = _true_p90(truth.first, round(EVEN_RATE * seconds), truth)
    return own_statistics(words)[QUANTILES["p90"]] / true


def _true_p90(first: float, count: int, truth: Truth) -> float:
    times = true_response_times(
        even_schedule(first, EVEN_RATE, count), truth.freezes, USUAL_SECONDS
    )
    return quantile(times, QUANTILES["p90"])


def whole_cycles(seconds: float) -> float:
    """Round up to a number of freezes, so that each run has its share of them."""
    cycles = max(1, round(seconds / FREEZE_EVERY_SECONDS))
    return cycles * FREEZE_EVERY_SECONDS
