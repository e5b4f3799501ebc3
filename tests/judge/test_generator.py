"""When the load generator was the bottleneck, why, and what helps; and when it was not."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from harness.judge.generator import (
    Sending,
    bottleneck,
    late_p99,
    lateness_carried,
    standstill_carried,
)
from harness.model import GeneratorSecond, Interval, Measurement

QUIET = GeneratorSecond(
    process=0,
    at=0.0,
    begun=10,
    in_flight=4,
    lateness=0.004,
    loop_lag=0.006,
    cpu_share=0.06,
    machine_cpu_share=0.4,
    sockets=8,
    gc_seconds=0.001,
    memory_bytes=80_000_000,
)


def seconds(count: int, **changes: Any) -> list[GeneratorSecond]:
    fields = {name: getattr(QUIET, name) for name in QUIET.__slots__}
    return [GeneratorSecond(**{**fields, "at": float(i), **changes}) for i in range(count)]


def late(share_of_100ms: float, count: int = 300) -> list[float]:
    """Lateness of some requests: this share of them 250 ms late, the others 3 ms."""
    slow = round(share_of_100ms * count)
    return [0.25] * slow + [0.003] * (count - slow)


def judged(
    noted: list[GeneratorSecond],
    lateness: list[float] | None = None,
    median: float | None = 0.5,
    duration: float = 30.0,
) -> str:
    lateness = late(0) if lateness is None else lateness
    return bottleneck(Sending(noted, lateness, median, duration))


# -- it kept up ----------------------------------------------------------------------


def test_a_quiet_generator_is_none() -> None:
    assert judged(seconds(30)) == ""


def test_nothing_known_of_the_generator_is_no_accusation() -> None:
    assert bottleneck(Sending([], [], None, 30.0)) == ""


def test_a_full_machine_and_a_lag_that_nobody_feels_are_no_harm() -> None:
    # Target, LLM, Langfuse and load on two cores, as `make benchmark` has them.
    draw = random.Random(5)
    noted = [
        one
        for _ in range(30)
        for one in seconds(1, machine_cpu_share=1.0, loop_lag=draw.uniform(0.02, 0.1))
    ]
    lateness = [draw.uniform(0.001, 0.09) for _ in range(170)]
    assert judged(noted, lateness, median=0.7) == ""


def test_a_busy_core_is_no_harm_while_the_loop_is_quick() -> None:
    assert judged(seconds(30, cpu_share=0.97, loop_lag=0.02), median=0.5) == ""


@pytest.mark.parametrize(("late_ones", "accused"), [(0, False), (2, False), (3, True)])
def test_of_60_requests_two_may_be_late_by_chance_but_not_three(
    late_ones: int, *, accused: bool
) -> None:
    # The lower Clopper-Pearson limit of 2 in 60 is 0.59 %, of 3 in 60 it is 1.38 %.
    lateness = [0.3] * late_ones + [0.001] * (60 - late_ones)
    assert bool(judged(seconds(30), lateness)) is accused


def test_lateness_is_measured_by_what_the_requests_take() -> None:
    lateness = [0.25] * 300
    assert judged(seconds(30), lateness, median=3.0) == ""
    assert "more than 200 ms after they were due" in judged(seconds(30), lateness, median=2.0)


def test_one_long_standstill_in_a_long_window_is_no_harm_and_in_a_short_one_it_is() -> None:
    noted = [*seconds(29), *seconds(1, loop_lag=3.0)]
    assert judged(noted, duration=30.0) == ""
    assert "its loop stood still for 25 % of the window, up to 3.00 s" in judged(
        noted, duration=12.0
    )


def test_a_loop_that_is_170_ms_late_in_every_second_can_still_be_judged() -> None:
    assert judged(seconds(30, loop_lag=0.17)) == ""


# -- it did not ------------------------------------------------------------------------


def test_requests_sent_late_accuse_it_with_their_number() -> None:
    assert judged(seconds(30), late(0.1)) == (
        "the load generator was the bottleneck: 30 of 300 requests were sent more than 100 ms "
        "after they were due (p99 250 ms); its process was held up though neither its core nor "
        "its machine was in full use; look for a scenario that computes long or waits without gevent, or for a "
        "machine that pauses"
    )


def test_in_a_closed_loop_that_is_never_late_a_pinned_core_and_a_slow_loop_accuse_it() -> None:
    assert judged(seconds(30, cpu_share=0.99, loop_lag=0.04), [0.0] * 300, median=0.09) == (
        "the load generator was the bottleneck: the loop of load process 0 was 40 ms behind in "
        "most seconds, where half of the requests took 90 ms or less; load process 0 used 99 % of "
        "a core, its limit, in 30 of 30 seconds; start it with more --processes"
    )


def test_it_is_enough_that_one_of_several_processes_is_pinned() -> None:
    busy = seconds(30, process=2, cpu_share=1.0, loop_lag=0.06)
    found = judged([*seconds(30), *seconds(30, process=1), *busy], [0.0] * 300, median=0.2)
    assert "the loop of load process 2 was 60 ms behind" in found


def test_a_core_pinned_for_less_than_half_of_the_window_is_not_called_pinned() -> None:
    noted = [*seconds(16), *seconds(14, cpu_share=1.0, loop_lag=0.06)]
    assert judged(noted, [0.0] * 300, median=0.05) == ""


def test_standing_still_counts_over_all_processes() -> None:
    still = seconds(30, loop_lag=0.6)  # 60 % of its own time
    assert "stood still for 60 %" in judged(still)
    assert "stood still for 30 %" in judged([*still, *seconds(30, process=1)])
    others = [s for process in range(1, 4) for s in seconds(30, process=process)]
    assert judged([*still, *others]) == ""  # 15 % of the time of all four


# -- one promise that would be missed ---------------------------------------------------

LATE = [0.083] * 60 + [0.09] * 59 + [0.098]


def test_lateness_that_carried_a_quantile_is_told_with_its_figures_and_the_mend() -> None:
    client = Measurement(
        "client", Interval.exactly(0.01), 120, "",
        quantile=Interval.exactly(0.11), punctual=Interval.exactly(1.0),
        punctual_quantile=Interval.exactly(0.0086),
    )  # fmt: skip
    sending = Sending(seconds(12, cpu_share=0.92), LATE, 0.095, 12.0)
    assert lateness_carried(sending, 0.95, client) == (
        "only the load generator's own lateness carried p95 over the bound: half of the requests "
        "were sent 83 ms or more after they were due (p99 90 ms), and counted from when they were "
        "sent, 100 % are within the bound (p95 9 ms instead of 110 ms); load process 0 used 92 % "
        "of a core, its limit, in 12 of 12 seconds; start it with more --processes"
    )


def test_a_quantile_among_the_failures_has_no_place_in_the_sentence() -> None:
    beyond = Interval(0.2, math.inf)
    client = Measurement(
        "client", Interval.exactly(0.8), 120, "", quantile=beyond,
        punctual=Interval.exactly(0.945), punctual_quantile=Interval.exactly(math.inf),
    )  # fmt: skip
    found = lateness_carried(Sending([], LATE, 0.09, 12.0), 0.95, client)
    assert "94.5 % are within the bound; its process was held up" in found


STALLED = [*seconds(59), *seconds(1, loop_lag=2.9)]  # 4.8 % of a minute


@pytest.mark.parametrize(
    ("quantile", "bound", "seen", "carried"),
    [
        pytest.param(0.99, 1.0, Interval.exactly(2.8), True, id="one stall sets p99"),
        pytest.param(0.95, 1.0, Interval.exactly(2.8), False, id="but not p95"),
        pytest.param(0.99, 1.0, Interval.exactly(4.0), False, id="more over than it lasted"),
        pytest.param(0.99, 1.0, Interval(0.9, math.inf), False, id="the quantile has failed"),
    ],
)
def test_a_standstill_can_carry_the_quantiles_that_leave_it_room(
    quantile: float, bound: float, seen: Interval, *, carried: bool
) -> None:
    sending = Sending(STALLED, [0.0] * 300, 0.1, 60.0)
    found = standstill_carried(sending, quantile, bound, seen)
    assert found == (
        (
            "the load generator's own standstill may have carried p99 over its bound: its loop stood "
            "still for 4.8 % of the window, up to 2.90 s at a time; its process was held up though "
            "neither its core nor its machine was in full use; look for a scenario that computes "
            "long or waits without gevent, or for a machine that pauses"
        )
        if carried
        else ""
    )


def test_windows_that_a_promise_is_about_are_taken_together() -> None:
    both = Sending.together(
        [Sending(STALLED, [0.1], 2.0, 60.0), Sending(seconds(60), [0.2], None, 60.0)]
    )
    assert (both.lateness, both.response_median, both.duration) == ([0.1, 0.2], 2.0, 120.0)
    assert len(both.seconds) == 120


# -- why, and what helps ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("noted", "cause"),
    [
        pytest.param(
            seconds(24) + seconds(6, cpu_share=0.95),
            "load process 0 used 95 % of a core, its limit, in 6 of 30 seconds; start it with more "
            "--processes",
            id="its core",
        ),
        pytest.param(
            seconds(20, cpu_share=0.99) + seconds(10, cpu_share=0.99, machine_cpu_share=0.99),
            "the CPU of its machine was in full use in 10 of 30 seconds; send from another machine "
            "than the target's, or fewer requests",
            id="the machine, where more processes would not help",
        ),
        pytest.param(
            seconds(20) + seconds(10, loop_lag=0.2, gc_seconds=0.15),
            "garbage collection took 1.50 s of it; start it with more --processes, so that each "
            "keeps less",
            id="garbage collection",
        ),
        pytest.param(
            seconds(20) + seconds(10, loop_lag=0.2, gc_seconds=0.01),
            "its process was held up though neither its core nor its machine was in full use; look "
            "for a scenario that computes long or waits without gevent, or for a machine that pauses",
            id="none of them",
        ),
        pytest.param(
            [],
            "its process was held up though neither its core nor its machine was in full use; look "
            "for a scenario that computes long or waits without gevent, or for a machine that pauses",
            id="nothing known",
        ),
    ],
)
def test_the_cause_is_named_with_its_figure_and_the_mend(
    noted: list[GeneratorSecond], cause: str
) -> None:
    assert judged(noted, late(0.1)).endswith(f"; {cause}")


def test_late_p99_is_that_of_rank_99_in_100() -> None:
    assert late_p99([i / 1000 for i in range(1, 101)]) == 0.099
    assert late_p99([0.5]) == 0.5
    assert late_p99([]) is None
