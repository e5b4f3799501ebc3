"""What it costs to keep a request as evidence, and whether merged histograms are those of one."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgpack
from accuracy import spread
from figures import Figures
from scripted_target import MEDIAN_SECONDS, SIGMA

from harness.load.recorder import Recorder
from harness.model import Outcome, Sample
from harness.runs import HistogramKey, RunDirectory

BUSY = 1000
"""Requests a second, about what one saturated load process makes of a slow target."""
CALM = 100
WORKERS = (2, 4)
SEED = 3
BEGIN = 1_800_000_000.0

Histograms = dict[HistogramKey, dict[str, object]]


class HandOver(Protocol):
    """What happens to the samples of a second, of the last one too."""

    def __call__(self, recorder: Recorder, *, last: bool) -> None:
        """Take them from the recorder."""


def measure_recording(folder: Path, seconds: int, repetitions: int) -> Figures:
    """
    Measure the processor time of one sample, in microseconds.

    `record_us` is that of a load alone: noted, counted, and its row and its second on disk.
    `record_worker_us` is that of a worker: noted, counted, and packed for the master, as bytes.
    """
    figures: Figures = {}
    for rate, end in ((BUSY, ""), (CALM, "_at_100")):
        seconds_of = [make_samples(rate, second) for second in range(seconds)]
        alone = [
            _cost(seconds_of, _to_disk(folder / f"{rate}-{repetition}"))
            for repetition in range(repetitions)
        ]
        worker = [_cost(seconds_of, _to_master) for _ in range(repetitions)]
        figures |= spread(f"record{end}_us", alone) | spread(f"record_worker{end}_us", worker)
    return figures


def make_samples(rate: int, second: int) -> list[Sample]:
    """Make what a client saw in one second of a load, the same for the same second."""
    draws = random.Random(SEED + second)  # noqa: S311 - latencies, not secrets
    samples = []
    for number in range(rate):
        end = BEGIN + second + number / rate
        start = end - draws.lognormvariate(math.log(MEDIAN_SECONDS), SIGMA)
        samples.append(
            Sample(
                scenario="steady",
                operation="chat",
                trace_id=f"{draws.getrandbits(128):032x}",
                intended_start=start - 0.001 * draws.random(),
                start=start,
                end=end,
                outcome=Outcome.OK if draws.random() < 0.99 else Outcome.HTTP_ERROR,
                http_status=200,
                input_tokens=1200,
                output_tokens=80,
                llm_calls=2,
                tool_calls=1,
            )
        )
    return samples


def _cost(seconds_of: Sequence[Sequence[Sample]], hand_over: HandOver) -> float:
    recorder = Recorder()
    begun = time.thread_time()
    for number, samples in enumerate(seconds_of, 1):
        for sample in samples:
            recorder.record(sample)
        recorder.fold()
        hand_over(recorder, last=number == len(seconds_of))
    return (time.thread_time() - begun) / sum(map(len, seconds_of)) * 1e6


def _to_disk(path: Path) -> HandOver:
    directory = RunDirectory(path)

    def hand_over(recorder: Recorder, *, last: bool) -> None:
        directory.append_samples("steady", recorder.take_rows())
        intervals = recorder.take_intervals(everything=last)
        directory.append_intervals("steady", intervals, BEGIN)

    return hand_over


def _to_master(recorder: Recorder, *, last: bool) -> None:
    del last
    msgpack.dumps(recorder.pack())


def merges_exactly(samples: Sequence[Sample]) -> bool:
    """Whether the histograms of 2 and of 4 load processes, merged, are bit for bit those of 1."""
    alone = histograms_of(samples)
    return all(alone == _merged(samples, workers) for workers in WORKERS)


def histograms_of(samples: Sequence[Sample]) -> Histograms:
    """Record samples, and give the histograms as they would be written."""
    recorder = Recorder()
    for sample in samples:
        recorder.record(sample)
    return _written(recorder)


def _merged(samples: Sequence[Sample], workers: int) -> Histograms:
    """Deal the samples out to some workers, whose master takes their packed bytes."""
    master = Recorder()
    for worker in range(workers):
        recorder = Recorder()
        for sample in samples[worker::workers]:
            recorder.record(sample)
        master.absorb(msgpack.loads(msgpack.dumps(recorder.pack()), strict_map_key=False))
    return _written(master)


def _written(recorder: Recorder) -> Histograms:
    return {key: distribution.encode() for key, distribution in recorder.histograms.items()}
