"""A window while it is open: rows go to disk, /health is probed, scrapes stand at both ends."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import gevent
import httpx
import psutil
from gevent.pool import Group

from harness.load import chat_api, clock
from harness.load.prepare import authorization
from harness.load.recorder import Recorder
from harness.model import Window
from harness.runs import RunDirectory, WindowRecord

_FLUSH_SECONDS = 1.0
_PROBE_SECONDS = 0.25


class OpenWindow:
    """The measured interval of some scenarios, from the scrape before to the scrape after."""

    def __init__(
        self,
        directory: RunDirectory,
        recorder: Recorder,
        host: str,
        scenarios: tuple[str, ...],
        arrivals: str,
        *,
        open_loop: bool,
        processes: int,
    ) -> None:
        """Scrape, then open: everything recorded from now on is evidence."""
        self.name = scenarios[0] if len(scenarios) == 1 else "mixed"
        self.planned: int | None = None
        self.begun: int | None = None
        self.scheduled_seconds: float | None = None
        self.warmup_requests = 0
        self.notes: list[str] = []
        self._directory = directory
        self._recorder = recorder
        self._host = host
        self._probes: list[float] = []
        scrape(directory, self.name, "before", host)
        self._start = clock.now()
        # Should nobody ever close it, the record says so.
        unclosed = Window(self.name, scenarios, self._start, self._start + 1e-3)
        self._record = WindowRecord(
            unclosed, arrivals, open_loop, processes, notes=("it was never closed",)
        )
        directory.write_window(self._record)
        self._process = psutil.Process()
        self._cpu_seconds = self._cpu()
        self._greenlets = Group()
        self._greenlets.spawn(self._flush_forever)
        self._greenlets.spawn(self._probe_forever)

    def close(self, locust_requests: int | None) -> None:
        """Write everything down, and scrape again; nothing may be under way any more."""
        self._greenlets.kill()
        self._flush()
        end = clock.now()
        self._directory.write_histograms(self.name, self._recorder.histograms)
        self._directory.write_window(
            replace(
                self._record,
                window=replace(self._record.window, end=end),
                planned=self.planned,
                begun=self.begun,
                scheduled_seconds=self.scheduled_seconds,
                requests=self._recorder.count,
                warmup_requests=self.warmup_requests,
                locust_requests=locust_requests,
                null_probes=tuple(round(p, 6) for p in self._probes),
                cpu_share=round((self._cpu() - self._cpu_seconds) / (end - self._start), 4),
                notes=tuple(self.notes),
            )
        )
        scrape(self._directory, self.name, "after", self._host)

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _flush_forever(self) -> None:
        while True:
            gevent.sleep(_FLUSH_SECONDS)
            self._flush()

    def _flush(self) -> None:
        rows = self._recorder.take_rows()
        self._directory.append_samples(self.name, rows)

    def _probe_forever(self) -> None:
        """Measure what a request costs when the server does nothing for it."""
        with httpx.Client(timeout=10, headers=authorization()) as client:
            while True:
                begin = time.perf_counter()
                try:
                    if client.get(self._host + chat_api.HEALTH).is_success:
                        self._probes.append(time.perf_counter() - begin)
                except httpx.HTTPError:
                    pass  # a target in trouble shows in the samples, not here
                gevent.sleep(_PROBE_SECONDS)


def scrape(directory: RunDirectory, window: str, which: str, host: str) -> None:
    """Have /metrics read by a process of its own: this one has other things to do."""
    harness("scrape", str(directory.path), window, which, "--target", host, log=directory)


def harness(*arguments: str, log: RunDirectory) -> None:
    """Run a command of the harness beside the load, out of reach of its Ctrl-C."""
    with (log.logs / "beside-the-load.log").open("a", encoding="utf-8") as file:
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "harness", *arguments],
            stdout=file,
            stderr=file,
            check=False,
            start_new_session=True,
        )
