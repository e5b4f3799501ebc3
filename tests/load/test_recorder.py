"""What a load process keeps of every request, and how it is handed on."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import fields, replace
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.distribution import Distribution
from harness.load.recorder import Recorder
from harness.model import Outcome, Sample
from harness.runs import HistogramKey

SAMPLE = Sample(
    scenario="warm_cache",
    operation="chat",
    trace_id="0" * 31 + "1",
    intended_start=100.0,
    start=100.25,
    end=101.0,
    outcome=Outcome.OK,
)
STREAMED = replace(SAMPLE, operation="chat_stream", trace_id="0" * 31 + "2", first_token=100.5)
FAILED = replace(SAMPLE, trace_id="0" * 31 + "3", end=103.0, outcome=Outcome.TIMEOUT)


def recorder(*samples: Sample) -> Recorder:
    kept = Recorder()
    for sample in samples:
        kept.record(sample)
    return kept


def seen(kept: Recorder) -> dict[tuple[str, str, str], dict[str, object]]:
    """All histograms by operation, outcome and time, as they are written."""
    return {
        (key.operation, str(key.outcome), key.time): distribution.encode()
        for key, distribution in kept.histograms.items()
    }


def on_the_wire(packed: object) -> dict[str, Any]:
    """What arrives at another process: plain values only."""
    return json.loads(json.dumps(packed))


def test_every_request_is_kept_as_a_row_and_in_the_histograms_of_its_own_outcome() -> None:
    kept = recorder(SAMPLE, STREAMED, FAILED)
    assert kept.count == 3
    totals = {
        (key.operation, key.outcome, key.time): (d.count, d.total_seconds)
        for key, d in kept.histograms.items()
    }
    assert totals == {
        ("chat", Outcome.OK, "response_time"): (1, 1.0),
        ("chat", Outcome.OK, "service_time"): (1, 0.75),
        ("chat_stream", Outcome.OK, "response_time"): (1, 1.0),
        ("chat_stream", Outcome.OK, "service_time"): (1, 0.75),
        ("chat_stream", Outcome.OK, "ttft"): (1, 0.5),
        ("chat", Outcome.TIMEOUT, "response_time"): (1, 3.0),
        ("chat", Outcome.TIMEOUT, "service_time"): (1, 2.75),
    }
    assert kept.take_rows() == [SAMPLE, STREAMED, FAILED]


def test_rows_are_handed_over_once_and_histograms_stay() -> None:
    kept = recorder(SAMPLE)
    assert kept.take_rows() == [SAMPLE]
    kept.record(FAILED)
    assert kept.take_rows() == [FAILED]
    assert kept.take_rows() == []
    assert kept.count == 2
    assert sum(d.count for key, d in kept.histograms.items() if key.time == "response_time") == 2


def test_what_two_processes_hand_over_adds_up_to_what_one_would_have_kept() -> None:
    samples = [
        replace(SAMPLE, trace_id=f"{i:032x}", end=100.3 + i * i / 977, outcome=outcome)
        for i in range(200)
        for outcome in (Outcome.OK, Outcome.HTTP_ERROR)
    ]
    alone = recorder(*samples)
    master = Recorder()
    for share in (samples[::2], samples[1::2]):
        master.absorb(on_the_wire(recorder(*share).pack()))
    assert master.count == alone.count == 400
    assert seen(master) == seen(alone)
    rows = sorted(master.take_rows(), key=lambda s: (s.trace_id, s.outcome))
    assert rows == sorted(samples, key=lambda s: (s.trace_id, s.outcome))


def test_packing_leaves_nothing_behind_to_be_sent_twice() -> None:
    worker, master = recorder(SAMPLE, STREAMED), Recorder()
    master.absorb(on_the_wire(worker.pack()))
    assert worker.pack() == {"count": 0, "rows": [], "histograms": []}
    assert worker.histograms == {}
    assert worker.count == 0
    worker.record(FAILED)
    master.absorb(on_the_wire(worker.pack()))
    assert master.count == 3
    assert seen(master) == seen(recorder(SAMPLE, STREAMED, FAILED))


def test_a_row_survives_the_way_to_another_process_with_every_field() -> None:
    whole = replace(
        STREAMED,
        http_status=200,
        input_tokens=900,
        output_tokens=30,
        llm_calls=2,
        tool_calls=3,
        events=30,
        longest_gap=0.1,
        traced=False,
        detail="é",
    )
    unlike_default = [f.name for f in fields(Sample) if getattr(whole, f.name) == f.default]
    assert unlike_default == [], "a field is missing from this example"
    master = Recorder()
    master.absorb(on_the_wire(recorder(whole).pack()))
    assert master.take_rows() == [whole]


def test_a_request_that_seems_to_end_before_it_was_due_took_no_time() -> None:
    kept = recorder(replace(SAMPLE, start=100.0, end=100.0 - 1e-9))
    key = HistogramKey("warm_cache", "chat", Outcome.OK, "response_time")
    assert kept.histograms[key].largest == 0.0


def test_a_duration_that_no_histogram_holds_is_clamped_and_counted() -> None:
    kept = recorder(SAMPLE, replace(SAMPLE, end=200_000.0), replace(SAMPLE, end=100.125))
    assert kept.clamped == 3  # too long twice, and once it ended before it began
    key = HistogramKey("warm_cache", "chat", Outcome.OK, "service_time")
    assert kept.histograms[key].largest == 3600.0
    assert kept.histograms[key].count == 3
    master = Recorder()
    master.absorb(on_the_wire(kept.pack()))
    assert (master.clamped, kept.clamped) == (3, 0)


@pytest.mark.parametrize(
    ("change", "gaps"),
    [
        pytest.param({"end": math.nan}, (), id="an end"),
        pytest.param({"start": math.inf}, (), id="a start without end"),
        pytest.param({"first_token": math.nan}, (), id="a first token"),
        pytest.param({"longest_gap": math.inf}, (), id="a longest gap"),
        pytest.param({}, (0.1, math.nan), id="a gap"),
        pytest.param({}, ("0.1",), id="a gap in words"),
        pytest.param({"output_tokens": "5"}, (), id="tokens in words"),
        pytest.param({"llm_calls": 10**400}, (), id="more calls than there are"),
        pytest.param({"end": None}, (), id="no end"),
    ],
)
def test_what_is_not_a_number_is_refused_and_harms_no_other_request(
    change: dict[str, Any], gaps: tuple[Any, ...]
) -> None:
    kept = recorder(SAMPLE)
    with pytest.raises(ValueError, match="that is not a number"):
        kept.record(replace(SAMPLE, **change), gaps)
    kept.record(FAILED)
    assert kept.take_rows() == [SAMPLE, FAILED]
    assert seen(kept) == seen(recorder(SAMPLE, FAILED))


def test_of_a_stream_the_times_of_its_tokens_are_kept() -> None:
    kept = Recorder()
    kept.record(replace(STREAMED, output_tokens=6), gaps=(0.05, 0.05, 0.3))
    kept.record(replace(STREAMED, output_tokens=1))
    kept.record(STREAMED)
    totals = {key.time: (d.count, d.total_seconds) for key, d in kept.histograms.items()}
    assert totals == {
        "response_time": (3, 3.0),
        "service_time": (3, 2.25),
        "ttft": (3, 1.5),
        "tpot": (1, 0.1),  # half a second for five tokens after the first
        "inter_token": (3, 0.4),
    }


def seconds_of(intervals: dict[int, dict[HistogramKey, Distribution]]) -> dict[int, int]:
    """How many requests ended in each second."""
    return {
        second: sum(d.count for key, d in histograms.items() if key.time == "service_time")
        for second, histograms in intervals.items()
    }


def test_each_second_is_handed_over_once_and_only_when_it_is_complete() -> None:
    now = 104.0
    kept = Recorder(now=lambda: now)
    for end in (101.0, 101.999, 102.0, 103.5):
        kept.record(replace(SAMPLE, end=end))
    assert kept.take_intervals() == {}
    now = 107.0
    assert seconds_of(kept.take_intervals()) == {101: 2}
    assert kept.take_intervals() == {}
    kept.record(replace(SAMPLE, end=101.5))  # a worker was slow to tell
    now = 108.0
    assert seconds_of(kept.take_intervals()) == {101: 1, 102: 1}
    assert seconds_of(kept.take_intervals(everything=True)) == {103: 1}
    assert kept.take_intervals(everything=True) == {}
    assert kept.count == 5
    assert [d.count for d in kept.histograms.values()] == [5, 5]


def test_a_second_handed_over_does_not_change_with_what_comes_later() -> None:
    kept = recorder(SAMPLE)
    (taken,) = kept.take_intervals(everything=True).values()
    before = {key: d.encode() for key, d in taken.items()}
    kept.record(SAMPLE)
    kept.take_intervals(everything=True)
    assert {key: d.encode() for key, d in taken.items()} == before


def test_a_clock_that_is_ahead_does_not_pile_up_seconds() -> None:
    kept = Recorder(now=lambda: 104.0)
    for end in (103.0, 4000.0):
        kept.record(replace(SAMPLE, end=end))
    assert seconds_of(kept.take_intervals()) == {103: 1}


def test_a_damaged_report_adds_nothing() -> None:
    master, worker = Recorder(), recorder(SAMPLE, STREAMED)
    packed = on_the_wire(worker.pack())
    packed["histograms"][-1][-1]["count"] = 7
    with pytest.raises(ValueError, match="says it holds 7"):
        master.absorb(packed)
    assert (master.count, master.take_rows(), master.histograms) == (0, [], {})


unhurried = settings(max_examples=60, deadline=None)
SCENARIOS = st.builds(
    replace,
    st.sampled_from([SAMPLE, STREAMED, FAILED]),
    end=st.floats(99.0, 104.0),
    output_tokens=st.sampled_from([None, 5]),
)
# What a load process may do between one request and the next.
STEPS = st.sampled_from(["record", "fold", "take rows", "take seconds", "tell"])
SHARES = st.lists(
    st.tuples(SCENARIOS, st.lists(st.floats(-0.1, 5.0), max_size=3), st.integers(0, 3), STEPS),
    max_size=40,
)


@unhurried
@given(SHARES, st.integers(1, 4), st.randoms())
def test_any_partition_told_in_any_order_gives_the_same_bytes_as_one_process(
    shares: list[tuple[Sample, list[float], int, str]], processes: int, shuffle: Random
) -> None:
    alone, master = Recorder(), Recorder()
    workers = [Recorder() for _ in range(processes)]
    reports, rows, seconds = [], [], Counter()
    for sample, gaps, number, step in shares:
        alone.record(sample, gaps)
        worker = workers[number % processes]
        worker.record(sample, gaps)
        if step == "fold":
            worker.fold()
        elif step == "take rows":
            rows += worker.take_rows()
        elif step == "take seconds":
            seconds.update(seconds_of(worker.take_intervals(everything=True)))
        elif step == "tell":
            reports.append(msgpack.dumps(worker.pack()))
    reports += [msgpack.dumps(worker.pack()) for worker in workers]
    shuffle.shuffle(reports)
    for report in reports:
        master.absorb(msgpack.loads(report))

    assert seen(master) == seen(alone)
    assert master.clamped == alone.clamped
    assert Counter(rows + master.take_rows()) == Counter(sample for sample, *_ in shares)
    seconds.update(seconds_of(master.take_intervals(everything=True)))
    assert seconds == Counter(math.floor(sample.end) for sample, *_ in shares)
    assert master.count == alone.count == len(shares)


def test_a_report_is_compact() -> None:
    rows = [replace(SAMPLE, trace_id=f"{i:032x}", end=101 + i / 1000) for i in range(1000)]
    report = msgpack.dumps(recorder(*rows).pack())
    assert len(report) < 105 * len(rows)
