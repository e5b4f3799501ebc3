"""When the load generator was the bottleneck, why, and what helps; and when it was not."""

from __future__ import annotations

import random
from typing import Any

import pytest

from harness.judge.generator import bottleneck, late_p99
from harness.model import GeneratorSecond

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
    return bottleneck(noted, late(0) if lateness is None else lateness, median, duration)


# -- it kept up ----------------------------------------------------------------------


def test_a_quiet_generator_is_none() -> None:
    assert judged(seconds(30)) == ""


def test_nothing_known_of_the_generator_is_no_accusation() -> None:
    assert bottleneck([], [], None, 30.0) == ""


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
    assert judged(noted, duration=120.0) == ""
    assert "its loop stood still for 10 % of the window, up to 3.00 s" in judged(noted)


# -- it did not ------------------------------------------------------------------------


def test_requests_sent_late_accuse_it_with_their_number() -> None:
    assert judged(seconds(30), late(0.1)) == (
        "the load generator was the bottleneck: 30 of 300 requests were sent more than 100 ms "
        "after they were due (p99 250 ms); its process was held up though neither its core nor "
        "its machine was in full use; look for a scenario that waits without gevent, or for a "
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
    still = seconds(30, loop_lag=0.15)  # 15 % of its own time
    assert "stood still for 15 %" in judged(still)
    assert judged([*still, *seconds(30, process=1)]) != ""
    others = [s for process in range(1, 4) for s in seconds(30, process=process)]
    assert judged([*still, *others]) == ""  # 3.75 % of the time of all four


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
            "for a scenario that waits without gevent, or for a machine that pauses",
            id="none of them",
        ),
        pytest.param(
            [],
            "its process was held up though neither its core nor its machine was in full use; look "
            "for a scenario that waits without gevent, or for a machine that pauses",
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
