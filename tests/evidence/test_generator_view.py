"""What load processes noted of themselves, summed up for the report."""

from __future__ import annotations

from collections.abc import Callable

from harness.evidence.generator import GeneratorView, Moment, generator_view
from harness.model import GeneratorSecond, Window

START = 1_790_000_000.0
WINDOW = Window("warm", ("warm",), START, START + 40)
Second = Callable[..., GeneratorSecond]


def test_nothing_noted_is_an_empty_view():
    assert generator_view([], WINDOW) == GeneratorView((), 1.0, ())


def test_a_process_over_its_window(second: Second):
    seconds = [
        second(i + 1, lateness=None if i == 0 else i / 1000, loop_lag=i / 100, cpu_share=i / 100,
               sockets=i, in_flight=9 - i, gc_seconds=0.5, memory_bytes=100 + i)
        for i in (2, 0, 1)
    ]  # fmt: skip

    (process,) = generator_view(seconds, WINDOW).processes

    assert (process.process, process.seconds, process.begun) == (0, 3, 15)
    assert (process.lateness, process.loop_lag_p99) == (0.002, 0.02)
    assert (process.cpu_mean, process.cpu_most) == (0.01, 0.02)
    assert (process.sockets, process.in_flight, process.gc_seconds) == (2, 9, 1.5)
    assert (process.memory_first, process.memory_last) == (100, 102)


def test_a_moment_is_the_worst_of_all_processes_and_the_cpu_of_each(second: Second):
    seconds = [
        second(1.0, lateness=0.2, loop_lag=0.01, cpu_share=0.1, machine_cpu_share=0.5),
        second(1.0, process=3, lateness=0.1, loop_lag=0.02, cpu_share=0.3, machine_cpu_share=0.6),
        second(2.0, process=3, lateness=None, loop_lag=0.0, cpu_share=0.2, machine_cpu_share=0.1),
    ]

    assert generator_view(seconds, WINDOW).moments == (
        Moment(1.0, 0.2, 0.02, 0.6, (0.1, 0.3)),
        Moment(2.0, None, 0.0, 0.1, (None, 0.2)),
    )


def test_a_long_window_has_no_more_than_120_pieces_and_loses_no_peak(second: Second):
    seconds = [second(i + 1, loop_lag=0.9 if i == 301 else 0.001) for i in range(600)]

    found = generator_view(seconds, WINDOW)

    assert (found.piece, len(found.moments)) == (5.0, 120)
    assert [m.at for m in found.moments if m.loop_lag == 0.9] == [305.0]


def test_a_process_whose_clock_is_far_off_begins_with_the_window(second: Second):
    seconds = [second(i + 1) for i in range(3)]
    seconds += [second(i - 7200, process=1) for i in range(3)]

    assert [m.at for m in generator_view(seconds, WINDOW).moments] == [1.0, 2.0, 3.0]
