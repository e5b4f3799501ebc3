"""The benchmark of the recorder: its samples, and whether merging is seen to be exact."""

from __future__ import annotations

from pathlib import Path

from benchmarks import recording
from benchmarks.recording import histograms_of, make_samples, measure_recording, merges_exactly


def test_samples_are_the_same_for_the_same_second() -> None:
    assert make_samples(20, 3) == make_samples(20, 3)
    assert make_samples(20, 3) != make_samples(20, 4)
    assert len({sample.trace_id for sample in make_samples(100, 0)}) == 100


def test_the_cost_of_a_sample_is_told_for_a_load_alone_and_for_a_worker(tmp_path: Path) -> None:
    figures = measure_recording(tmp_path, seconds=1, repetitions=2)

    for name in ("record", "record_worker", "record_at_100", "record_worker_at_100"):
        low, value, high = (figures[f"{name}_us{end}"] for end in ("_low", "", "_high"))
        assert 0 < low <= value <= high


def test_merged_histograms_are_those_of_one_recorder() -> None:
    samples = make_samples(500, 0)

    assert merges_exactly(samples)
    counts = [fields["count"] for key, fields in histograms_of(samples).items()
              if key.time == "service_time"]  # fmt: skip
    assert sum(map(int, map(str, counts))) == 500


def test_a_merge_that_loses_a_sample_is_seen(monkeypatch) -> None:
    samples = make_samples(50, 0)
    merged = recording._merged
    monkeypatch.setattr(recording, "_merged", lambda dealt, n: merged(dealt[:-1], n))

    assert not merges_exactly(samples)
