"""What one worker of several shows: the sums over all of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
from prometheus_client import Gauge, values
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from target_app.observability.multiprocess import PATTERN, VARIABLE, forget_dead, live_workers


def directory_of_workers() -> Path | None:
    """Answer where the workers count together; None in a process that counts for itself."""
    if values.ValueClass is values.MutexValue:
        return None
    return Path(os.environ[VARIABLE])


class AllWorkers(Collector):
    """
    Counters, histograms and gauges of all workers, put together from their files.

    Counters and histograms are sums, also over workers that ended; gauges are those of live
    workers. The library loses what does not fit in its files: some metrics are therefore this
    worker's own (`own`: facts of the app, the same in each worker), so are the children named
    by `shared`, of gauges that every worker reads from the same place; and the metrics of the
    process are sums over the live workers.
    """

    def __init__(
        self, directory: Path, own: Iterable[Collector], shared: Iterable[tuple[Gauge, str]]
    ) -> None:
        """Read the files in `directory`."""
        self._directory = directory
        self._own = tuple(own)
        self._shared = tuple(shared)

    def collect(self) -> Iterator[Metric]:
        """Read what all workers say now."""
        live = live_workers(self._directory)
        forget_dead(self._directory, live)
        # A worker that is just starting has made its files, but not yet filled them.
        files = [str(f) for f in self._directory.glob(PATTERN) if f.stat().st_size]
        for family in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]
            self._show_once(family)
            yield family
        for collector in self._own:
            yield from collector.collect()
        yield from _of_processes(live)

    def _show_once(self, family: Metric) -> None:
        """Put this worker's own reading in the place of the sum of the same readings."""
        for gauge, label in self._shared:
            for own in next(iter(gauge.collect())).samples:
                if own.name == family.name and label in own.labels.values():
                    family.samples = [
                        own if sample.labels == own.labels else sample for sample in family.samples
                    ]


def _of_processes(live: Iterable[psutil.Process]) -> Iterator[Metric]:
    """Add up the processes, under the names of the library's own collector."""
    cpu_seconds, resident_bytes, open_files = 0.0, 0, 0
    for process in live:
        try:
            with process.oneshot():
                times = process.cpu_times()
                cpu_seconds += times.user + times.system
                resident_bytes += process.memory_info().rss
                open_files += process.num_fds()
        except psutil.NoSuchProcess:
            continue  # it ended this moment
    yield CounterMetricFamily(
        "process_cpu_seconds_total", "Processor time of the live workers.", cpu_seconds
    )
    yield GaugeMetricFamily(
        "process_resident_memory_bytes", "Memory of the live workers.", resident_bytes
    )
    yield GaugeMetricFamily("process_open_fds", "Open files of the live workers.", open_files)
    yield GaugeMetricFamily(
        "process_start_time_seconds",
        "When the parent of the workers began: all counters began then.",
        psutil.Process(os.getppid()).create_time(),
    )
