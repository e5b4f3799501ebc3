"""What a load process keeps of every request, and how it is handed on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

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


def on_the_wire(packed: object) -> dict[str, object]:
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
    assert worker.pack() == {"rows": [], "histograms": []}
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
        detail="",
    )
    assert None not in asdict(whole).values(), "a field is missing from this example"
    master = Recorder()
    master.absorb(on_the_wire(recorder(whole).pack()))
    assert master.take_rows() == [whole]


def test_a_request_that_seems_to_end_before_it_was_due_took_no_time() -> None:
    kept = recorder(replace(SAMPLE, start=100.0, end=100.0 - 1e-9))
    key = HistogramKey("warm_cache", "chat", Outcome.OK, "response_time")
    assert kept.histograms[key].largest == 0.0


def test_a_duration_that_no_histogram_holds_is_not_dropped_in_silence() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Recorder().record(replace(SAMPLE, end=200_000.0))
