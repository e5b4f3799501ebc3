"""A window while it is open: rows go to disk, /health is probed, scrapes stand at both ends."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace

import gevent
import httpx
from gevent.pool import Group

from harness.credentials import target_headers
from harness.load import clock
from harness.load.crew import PhaseAccount
from harness.load.limits import Limits
from harness.load.messages import explained
from harness.load.recorder import Recorder
from harness.model import GeneratorSecond
from harness.runs import RunDirectory, WindowRecord
from harness.scrape import metrics_url, scrape

_FLUSH_SECONDS = 0.5
_PROBE_SECONDS = 0.25
_HEALTH = "/health"


class OpenWindow:
    """The measured interval of some scenarios, from the scrape before to the scrape after."""

    def __init__(
        self,
        directory: RunDirectory,
        recorder: Recorder,
        take_seconds: Callable[[], list[GeneratorSecond]],
        host: str,
        opened: WindowRecord,
    ) -> None:
        """
        Scrape, then open: everything recorded from now on is evidence.

        `opened` says what is known beforehand; its window is replaced by one
        that begins now. `take_seconds` hands over what the load processes noted of themselves.
        """
        self.name = opened.window.name
        self.notes: list[str] = []
        self.trouble = ""  # why nothing more can be written down, in one sentence
        self._directory = directory
        self._recorder = recorder
        self._take_seconds = take_seconds
        self._host = host
        self._probes: list[float] = []
        self._cpu: defaultdict[int, list[float]] = defaultdict(list)
        self._scrape("before")
        self._start = clock.now()
        # Should nobody ever close it, the record says so.
        self._record = replace(
            opened,
            window=replace(opened.window, start=self._start, end=self._start + 1e-3),
            notes=("it was never closed",),
        )
        directory.write_window(self._record)
        self._greenlets = Group()
        self._greenlets.spawn(self._flush_forever)
        self._greenlets.spawn(self._probe_forever)

    def close(
        self, account: PhaseAccount, *, stopped_by: str, prepared: Limits, budget_usd: float | None
    ) -> None:
        """
        Write everything down, and scrape again; nothing may be under way any more.

        `prepared` tells what was sent and spent before, `budget_usd` what was
        allowed in all. What cannot be written is noted, and the rest is written.
        """
        self._greenlets.kill()
        end = clock.now()
        if not self.trouble:  # else half a line may stand there by now
            self._try(self._flush)
        self._try(self._write_histograms)
        if self.trouble and not any(self.trouble in note for note in self.notes):
            self.notes.append(self.trouble)
        self._directory.write_window(
            replace(
                self._record,
                window=replace(self._record.window, end=end),
                planned=account.planned,
                begun=None if account.planned is None else account.begun,
                requests=self._recorder.count - account.shed,
                warmup_requests=account.warmed_up,
                prepared_requests=prepared.sent,
                locust_requests=account.counted,
                null_probes=tuple(round(p, 6) for p in self._probes),
                cpu_share=busiest(self._cpu.values()),
                shed=account.shed,
                clamped=self._recorder.clamped,
                may_be_lost=account.may_be_lost,
                stopped_by=stopped_by,
                spent_usd=(None if budget_usd is None else account.spent_usd + prepared.spent_usd),
                budget_usd=budget_usd,
                notes=(*self.notes, *account.notes),
            )
        )
        self._scrape("after")

    def _scrape(self, which: str) -> None:
        """Keep what the metrics say; before and after the window there is nothing else to do."""
        snapshot = scrape(metrics_url(self._host), self._host)
        self._directory.write_snapshot(self.name, which, snapshot)

    def _flush_forever(self) -> None:
        while not self.trouble:
            gevent.sleep(_FLUSH_SECONDS)
            self._try(self._flush)

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - whatever it is, the owner must see it
            problem = f"what was measured could not be written down: {explained(error)}"
            self.trouble = self.trouble or problem

    def _write_histograms(self) -> None:
        self._directory.write_intervals(
            self.name, self._recorder.take_intervals(everything=True), self._start
        )
        self._directory.write_histograms(self.name, self._recorder.histograms)

    def _flush(self) -> None:
        """Put on disk what is known by now, so that a crash takes little of it."""
        self._directory.append_samples(self.name, self._recorder.take_rows())
        if intervals := self._recorder.take_intervals():
            self._directory.append_intervals(self.name, intervals, self._start)
        seconds = self._take_seconds()
        self._directory.append_generator(self.name, seconds)
        for second in seconds:
            self._cpu[second.process].append(second.cpu_share)

    def _probe_forever(self) -> None:
        """Measure what a request costs when the server does nothing for it."""
        with httpx.Client(timeout=10, headers=target_headers()) as client:
            while True:
                begin = time.perf_counter()
                try:
                    if client.get(self._host + _HEALTH).is_success:
                        self._probes.append(time.perf_counter() - begin)
                except (httpx.HTTPError, OSError, ValueError):
                    pass  # a target in trouble shows in the samples, not here
                gevent.sleep(_PROBE_SECONDS)


def busiest(shares: Iterable[list[float]]) -> float | None:
    """Give the mean share of a core of the load process that used most; None when none told."""
    return max((round(sum(own) / len(own), 4) for own in shares if own), default=None)


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
