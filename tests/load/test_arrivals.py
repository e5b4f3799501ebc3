"""Schedules of intended starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import chain, islice, pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.arrivals import (
    Arrivals,
    Constant,
    Poisson,
    Ramp,
    Spike,
    Steps,
    Trace,
    seconds,
    warming,
)
from harness.load.plan import Schedule


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("30s", 30.0, id="seconds"),
        pytest.param("0.5s", 0.5, id="parts of a second"),
        pytest.param("2m", 120.0, id="minutes"),
        pytest.param("1h", 3600.0, id="hours"),
        pytest.param("0s", 0.0, id="nothing at all"),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("30", id="no unit"),
        pytest.param("30 s", id="a blank"),
        pytest.param("-1s", id="below zero"),
        pytest.param("1m30s", id="two units"),
        pytest.param("5ms", id="a unit that is not known"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_not_a_duration_is_refused_with_the_mend(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        seconds(text)
    assert str(refused.value) == f"{text!r} is not a duration; write it like 30s, 2m or 1h"


def test_constant_arrivals_are_at_even_distances_from_the_first_instant() -> None:
    assert list(Constant(4, "2s").instants(2.0, seed=1)) == [
        0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75,
    ]  # fmt: skip


def test_constant_arrivals_do_not_drift() -> None:
    assert list(Constant(3, "1h").instants(3600.0, seed=1))[-1] == 10799 / 3


def test_poisson_arrivals_are_the_same_for_the_same_seed_only() -> None:
    schedule = Poisson(5, "60s")
    assert list(schedule.instants(60.0, seed=7)) == list(schedule.instants(60.0, seed=7))
    assert list(schedule.instants(60.0, seed=7)) != list(schedule.instants(60.0, seed=8))


def test_a_longer_poisson_schedule_begins_with_the_shorter_one() -> None:
    schedule = Poisson(5, "60s")
    short = list(schedule.instants(10.0, seed=7))
    assert list(schedule.instants(60.0, seed=7))[: len(short)] == short


def test_poisson_arrivals_keep_their_rate_and_are_independent_of_each_other() -> None:
    offsets = list(Poisson(10, "1h").instants(3600.0, seed=3))
    gaps = [later - earlier for earlier, later in pairwise(offsets)]
    # 36000 expected, standard deviation 190: five of them each way.
    assert 35_050 < len(offsets) < 36_950
    # Exponential gaps: their standard deviation is their mean; even gaps would give 0.
    assert stdev(gaps) / fmean(gaps) == pytest.approx(1.0, abs=0.05)
    # No gap tells of the next one.
    here, after = gaps[:-1], gaps[1:]
    middle, spread = fmean(gaps), stdev(gaps)
    products = [(a - middle) * (b - middle) for a, b in zip(here, after, strict=True)]
    assert abs(fmean(products) / spread**2) < 5 / len(products) ** 0.5


@pytest.mark.parametrize("kind", [Constant, Poisson])
def test_all_instants_lie_within_the_length(kind: type[Constant | Poisson]) -> None:
    offsets = list(kind(50, "1s").instants(1.0, seed=1))
    assert offsets == sorted(offsets)
    assert 0.0 <= offsets[0] <= offsets[-1] < 1.0
    assert list(kind(50, "1s").instants(0.0, seed=1)) == []


@pytest.mark.parametrize(
    ("declare", "problem"),
    [
        pytest.param(
            lambda: Poisson(0, "1s"),
            "Poisson(rate=0): give a number above 0 (arrivals per second)",
            id="no rate",
        ),
        pytest.param(
            lambda: Constant(-2, "1s"),
            "Constant(rate=-2): give a number above 0 (arrivals per second)",
            id="a negative rate",
        ),
        pytest.param(
            lambda: Poisson(float("nan"), "1s"),
            "Poisson(rate=nan): give a number above 0 (arrivals per second)",
            id="nan",
        ),
        pytest.param(
            lambda: Constant(float("inf"), "1s"),
            "Constant(rate=inf): give a number above 0 (arrivals per second)",
            id="infinitely many",
        ),
        pytest.param(
            lambda: Poisson("4", "1s"),
            "Poisson(rate='4'): give a number above 0 (arrivals per second)",
            id="a text",
        ),
        pytest.param(
            lambda: Poisson(1, "fast"),
            "Poisson(duration='fast'): not a duration; write it like 30s, 2m or 1h",
            id="duration",
        ),
        pytest.param(
            lambda: Constant(1, 30),
            "Constant(duration=30): not a duration; write it like 30s, 2m or 1h",
            id="duration as a number",
        ),
        pytest.param(
            lambda: Constant(1, "1s", "0"),
            "Constant(warmup='0'): not a duration; write it like 30s, 2m or 1h",
            id="warm-up",
        ),
        pytest.param(
            lambda: Ramp(-1, 2, "1s"),
            "Ramp(start=-1): give 0 or more (arrivals per second)",
            id="a ramp from below",
        ),
        pytest.param(
            lambda: Ramp(1, float("nan"), "1s"),
            "Ramp(end=nan): give 0 or more (arrivals per second)",
            id="a ramp to nowhere",
        ),
        pytest.param(
            lambda: Ramp(0, 0, "1s"),
            "Ramp(start=0, end=0): give at least one rate above 0",
            id="a flat ramp",
        ),
        pytest.param(
            lambda: Ramp(0, 1, "0s"),
            "Ramp(duration='0s'): give more than 0 seconds",
            id="a sheer ramp",
        ),
        pytest.param(
            lambda: Steps([], "1s"),
            "Steps(rates=[]): give at least one rate above 0",
            id="no steps",
        ),
        pytest.param(
            lambda: Steps([1, -1], "1s"),
            "Steps(rates[1]=-1): give 0 or more (arrivals per second)",
            id="a step below",
        ),
        pytest.param(
            lambda: Steps([1], "0m"),
            "Steps(each='0m'): give more than 0 seconds",
            id="steps of no length",
        ),
        pytest.param(
            lambda: Spike(5, 5, "1s", "1s", "1s"),
            "Spike(peak=5): give more than base=5",
            id="no spike",
        ),
        pytest.param(
            lambda: Spike(1, 5, "1s", "0s", "1s"),
            "Spike(for_='0s'): give more than 0 seconds",
            id="a spike of no length",
        ),
        pytest.param(
            lambda: Spike(1, 5, "1s", "1s", "late"),
            "Spike(after='late'): not a duration; write it like 30s, 2m or 1h",
            id="after the spike",
        ),
        pytest.param(
            lambda: Trace(Path("there-is-none"), scale=0),
            "Trace(scale=0): give a number above 0 (how many times as fast)",
            id="a trace that stands still",
        ),
        pytest.param(
            lambda: Steps(5, "1s"),  # type: ignore[arg-type]
            "Steps(rates=5): give a list of rates, as in [1, 2, 4]",
            id="one step that is not in a list",
        ),
        pytest.param(
            lambda: Trace(5),  # type: ignore[arg-type]
            "Trace(path=5): give the path of a file",
            id="a trace that is no file",
        ),
        pytest.param(
            lambda: Trace("there-is-none", column=1),  # type: ignore[arg-type]
            "Trace(column=1): give the name of a column or field",
            id="a column that has no name",
        ),
    ],
)
def test_arrivals_that_never_come_are_refused_when_they_are_declared(
    declare: Callable[[], Any], problem: str
) -> None:
    with pytest.raises(ValueError) as refused:
        declare()
    assert str(refused.value) == problem


def test_arrivals_say_what_they_are(tmp_path: Path) -> None:
    recorded = tmp_path / "noon.txt"
    recorded.write_text("0\n1\n2\n")
    assert str(Constant(2.5, "30s")) == "constant, 2.5 per second for 30s"
    assert str(Poisson(4, "60s", "10s")) == "Poisson, 4 per second for 60s"
    assert str(Ramp(0, 4, "1m")) == "ramp from 0 to 4 per second in 1m, Poisson"
    assert str(Steps([1, 2.5], "10s", poisson=False)) == (
        "steps of 1, 2.5 per second, 10s each, evenly spaced"
    )
    assert str(Spike(2, 12, "15s", "10s", "20s")) == (
        "spike from 2 to 12 per second for 10s, 15s before and 20s after, Poisson"
    )
    assert str(Trace(recorded)) == "trace noon.txt, 3 arrivals in 3s"
    assert str(Trace(recorded, 2)) == (
        "trace noon.txt, 3 arrivals in 1.5s, 2 times as fast as recorded"
    )


def test_what_is_declared_cannot_be_changed_afterwards() -> None:
    rates = [1.0, 2.0]
    steps = Steps(rates, "10s")
    rates.append(9.0)
    assert steps.duration == "20s"
    with pytest.raises(FrozenInstanceError):
        steps.each = "1s"  # type: ignore[misc]


# -- rates that change ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrivals", "expected"),
    [
        # The integral of 2t is t squared: arrival k comes at the root of k.
        pytest.param(
            Ramp(0, 8, "4s", poisson=False), [k**0.5 for k in range(16)], id="a ramp that rises"
        ),
        # The mirror image: from the end, without the arrival at the end itself.
        pytest.param(
            Ramp(8, 0, "4s", poisson=False),
            [4 - (16 - k) ** 0.5 for k in range(16)],
            id="a ramp that falls",
        ),
        pytest.param(
            Steps([2, 0, 4], "1s", poisson=False), [0, 0.5, 2, 2.25, 2.5, 2.75], id="steps"
        ),
        pytest.param(
            Spike(1, 4, "2s", "1s", "2s", poisson=False),
            [0, 1, 2, 2.25, 2.5, 2.75, 3, 4],
            id="a spike",
        ),
        pytest.param(
            Spike(0, 4, "0s", "1s", "0s", poisson=False), [0, 0.25, 0.5, 0.75], id="only a peak"
        ),
    ],
)
def test_evenly_spaced_arrivals_come_where_the_integrated_rate_reaches_whole_numbers(
    arrivals: Arrivals, expected: list[float]
) -> None:
    length = seconds(arrivals.duration)
    assert list(arrivals.instants(length, seed=1)) == pytest.approx(expected, abs=1e-12)


def test_a_ramp_of_one_rate_is_the_poisson_process_of_that_rate() -> None:
    plain = list(Poisson(5, "60s").instants(60.0, seed=7))
    assert list(Ramp(5, 5, "60s").instants(60.0, seed=7)) == pytest.approx(plain, abs=1e-9)


def test_the_same_shape_is_kept_when_it_is_sent_for_longer_or_shorter() -> None:
    spike = Spike(1, 4, "2s", "1s", "2s", poisson=False)
    assert list(spike.instants(2.5, seed=1)) == [0, 1.0, 1.25, 1.5]
    longer = list(spike.instants(10.0, seed=1))
    assert sum(4 <= at < 6 for at in longer) == 8
    assert sum(at < 4 for at in longer) == sum(at >= 6 for at in longer) == 4


@pytest.mark.parametrize(
    ("arrivals", "parts"),
    [
        pytest.param(
            Ramp(0, 40, "100s"),
            [(0, 25, 125), (25, 50, 375), (50, 75, 625), (75, 100, 875)],
            id="ramp",
        ),
        pytest.param(Steps([5, 0, 20], "50s"), [(0, 50, 250), (50, 100, 0), (100, 150, 1000)], id="steps"),
        pytest.param(Spike(2, 30, "50s", "20s", "50s"), [(0, 50, 100), (50, 70, 600), (70, 120, 100)], id="spike"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_as_many_come_in_each_part_as_its_rate_integrates_to(
    arrivals: Arrivals, parts: list[tuple[float, float, float]], seed: int
) -> None:
    offsets = list(arrivals.instants(seconds(arrivals.duration), seed))
    for begin, end, expected in parts:
        # A Poisson count has the standard deviation of its root; five of them each way.
        found = sum(begin <= offset < end for offset in offsets)
        assert abs(found - expected) <= 5 * expected**0.5


def test_the_mean_rate_is_the_integral_of_the_rate_over_the_time(tmp_path: Path) -> None:
    recorded = tmp_path / "trace.txt"
    recorded.write_text("10\n11\n14\n")
    assert Constant(3, "7s").mean_rate == Poisson(3, "7s").mean_rate == 3
    assert Ramp(1, 4, "7s").mean_rate == 2.5
    assert Steps([1, 2, 6], "7s").mean_rate == 3
    assert Spike(1, 5, "3s", "1s", "4s").mean_rate == 1.5
    assert Trace(recorded, scale=2).mean_rate == 1


def test_a_spike_is_not_spent_in_the_warm_up() -> None:
    spike = Spike(1, 21, "9s", "1s", "10s", warmup="100s")
    offsets = list(warming(spike, seed=3))
    assert 200 - 5 * 200**0.5 < len(offsets) < 200 + 5 * 200**0.5
    # No tenth of it holds more than a mean rate of 2 per second can explain.
    assert max(sum(t <= at < t + 10 for at in offsets) for t in range(0, 100, 10)) < 45
    assert list(warming(Spike(1, 21, "9s", "1s", "10s"), seed=3)) == []


# How long an example takes depends on who else is at work on the machine.
unhurried = settings(max_examples=60, deadline=None)
rates = st.floats(0, 50, allow_subnormal=False)
lengths = st.integers(1, 30).map(lambda s: f"{s}s")
changing = st.one_of(
    st.builds(Ramp, st.floats(0.1, 50), rates, lengths, poisson=st.booleans()),
    st.builds(
        Steps,
        st.lists(rates, max_size=4).map(lambda r: [*r, 1.0]),
        lengths,
        poisson=st.booleans(),
    ),
    st.builds(
        Spike,
        st.floats(0, 9),
        st.floats(10, 50),
        st.sampled_from(("0s", "3s")),
        lengths,
        st.sampled_from(("0s", "4s")),
        poisson=st.booleans(),
    ),
    st.builds(Poisson, st.floats(0.1, 50), lengths),
    st.builds(Constant, st.floats(0.1, 50), lengths),
)
seeds = st.integers(0, 2**32)


@unhurried
@given(changing, st.floats(0.5, 60), seeds)
def test_any_schedule_ascends_stays_below_its_length_and_is_the_same_again(
    arrivals: Arrivals, length: float, seed: int
) -> None:
    offsets = list(arrivals.instants(length, seed))
    assert offsets == sorted(offsets)
    assert all(0 <= offset < length for offset in offsets)
    assert offsets == list(arrivals.instants(length, seed))
    assert seconds(arrivals.duration) > 0


@unhurried
@given(changing, seeds)
def test_any_schedule_has_the_mean_count_of_its_rate(arrivals: Arrivals, seed: int) -> None:
    length = seconds(arrivals.duration)
    expected = arrivals.mean_rate * length
    found = len(list(arrivals.instants(length, seed)))
    # Seven standard deviations: hypothesis looks for the worst seed.
    assert abs(found - expected) <= 7 * expected**0.5 + 1
    if not getattr(arrivals, "poisson", not isinstance(arrivals, Constant)):
        assert abs(found - expected) <= 1


# -- slots --------------------------------------------------------------------------------


@unhurried
@given(changing, changing, st.integers(1, 9))
def test_the_slots_of_all_processes_are_exactly_the_whole_schedule(
    one: Arrivals, other: Arrivals, count: int
) -> None:
    def schedule() -> Schedule:
        """As every load process computes it for itself."""
        return Schedule("measure", {"One": one, "Other": other}, {"One": 5.0, "Other": 3.0})

    parts = [list(islice(schedule(), index, None, count)) for index in range(count)]
    assert sorted(chain(*parts)) == list(schedule())
    # No slot has more to do than another, but for one arrival.
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


# -- recorded arrivals ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "more"),
    [
        pytest.param("a.txt", "100\n100.5\n\n102\n", {}, id="seconds, one a line"),
        pytest.param("a.log", "102\n100\n100.5", {}, id="not in order, no last line break"),
        pytest.param(
            "a.txt",
            "2026-09-21T10:00:00Z\n2026-09-21T12:00:00.5+02:00\n2026-09-21T10:00:02\n",
            {},
            id="ISO 8601, zones or none",
        ),
        pytest.param("a.csv", "user,time\nx,5\ny,5.5\nz,7\n", {}, id="CSV"),
        pytest.param("a.CSV", "\ufeffat;no,at\nx,5\n,5.5\nz,7\n", {"column": "at"}, id="CSV, another column"),
        pytest.param(
            "a.jsonl",
            "".join(json.dumps({"intended_start": 1.79e9 + t}) + "\n" for t in (0, 0.5, 2)),
            {"column": "intended_start"},
            id="JSON lines, as a run directory has them",
        ),
    ],
)  # fmt: skip
def test_a_trace_is_played_from_its_first_arrival_on(
    tmp_path: Path, name: str, text: str, more: dict[str, str]
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    trace = Trace(tmp_path / name, **more)
    # One mean distance after the last arrival.
    assert trace.duration == "3s"
    assert list(trace.instants(3.0, seed=1)) == pytest.approx([0, 0.5, 2], abs=1e-6)


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    path = tmp_path / "trace.txt"
    path.write_text("0\n1\n3\n")
    return path


def test_a_trace_is_scaled_in_time_and_so_in_rate(trace_file: Path) -> None:
    fast, slow = Trace(trace_file, scale=4), Trace(trace_file, scale=0.5)
    assert (fast.duration, slow.duration) == ("1.125s", "9s")
    assert list(fast.instants(1.125, seed=1)) == [0, 0.25, 0.75]
    assert list(slow.instants(9.0, seed=1)) == [0, 2, 6]


def test_a_trace_sent_for_shorter_is_its_beginning_and_for_longer_begins_again(
    trace_file: Path,
) -> None:
    trace = Trace(trace_file)
    assert trace.duration == "4.5s"
    assert list(trace.instants(3.0, seed=1)) == [0, 1]
    assert list(trace.instants(11.0, seed=1)) == [0, 1, 3, 4.5, 5.5, 7.5, 9, 10]


@unhurried
@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=30), st.floats(0.25, 8.0))
def test_playing_a_trace_once_plays_each_arrival_once(
    tmp_path_factory: pytest.TempPathFactory, microseconds: list[int], scale: float
) -> None:
    path = tmp_path_factory.mktemp("trace") / "trace.txt"
    path.write_text("".join(f"{m / 1e6}\n" for m in microseconds))
    trace = Trace(path, scale)
    offsets = list(trace.instants(seconds(trace.duration), seed=1))
    expected = [(m - min(microseconds)) / 1e6 / scale for m in sorted(microseconds)]
    assert offsets == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        pytest.param(
            "a.txt",
            "1\nnoon\n",
            "{path}:2: 'noon' is not an instant; write seconds, such as 12.5, or ISO 8601, such as 2026-09-21T10:00:00Z",
            id="a word",
        ),
        pytest.param("a.txt", "1\n\nnan\n", "{path}:3: 'nan' is not an instant", id="not a number"),
        pytest.param("a.txt", "\n\n", "{path}: no arrivals in it", id="nothing"),
        pytest.param("a.csv", "user,when\nx,1\n", "{path}:1: no column is named 'time'", id="no such column"),
        pytest.param("a.csv", "user,time\nx,1\ny\n", "{path}:3: None is not an instant", id="a short row"),
        pytest.param("a.csv", 'time\n"1\n', "{path}:2: not CSV: ", id="an open quote"),
        pytest.param("a.jsonl", '{"time": 1}\n{"at": 2}\n', "{path}:2: give a JSON object with the field 'time'", id="no such field"),
        pytest.param("a.jsonl", '{"time": 1}\n[3]\n', "{path}:2: give a JSON object with the field 'time'", id="a list"),
        pytest.param("a.jsonl", '{"time": true}\n', "{path}:1: True is not an instant", id="a truth value"),
        pytest.param("a.jsonl", '{"time": 1}\n{"time":', "{path}:2: give a JSON object with the field 'time'", id="broken off"),
    ],
)  # fmt: skip
def test_a_trace_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError) as refused:
        Trace(path)
    assert str(refused.value).startswith("Trace: " + problem.format(path=path))


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as refused:
        Trace(tmp_path / "none.txt")
    assert (
        str(refused.value)
        == f"Trace: {tmp_path}/none.txt: cannot be read: No such file or directory"
    )
    (tmp_path / "latin.txt").write_bytes(b"\xff\n")
    with pytest.raises(ValueError) as refused:
        Trace(tmp_path / "latin.txt")
    assert str(refused.value) == (
        f"Trace: {tmp_path}/latin.txt: not text in UTF-8; save it as that"
    )
