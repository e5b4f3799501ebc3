"""All metrics together, and the gauges that are read only when somebody looks."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector

from target_app.observability.metrics.agent import AgentGroup
from target_app.observability.metrics.caches import DISK, CacheGroup
from target_app.observability.metrics.http import HTTPGroup
from target_app.observability.metrics.llm import LLMGroup
from target_app.observability.metrics.telling import TellingGroup
from target_app.observability.metrics.tools import SandboxGroup, ToolGroup
from target_app.observability.metrics.workers import AllWorkers, directory_of_workers

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 10.0
"""How old a gauge can be at most that another worker shows."""


class SizedStore(Protocol):
    """Something that knows how much it holds."""

    @property
    def size_bytes(self) -> int:
        """Bytes held now."""
        ...

    def __len__(self) -> int:
        """Entries held now."""
        ...


@dataclass(slots=True)
class _Watched:
    gauge: Gauge
    read: Callable[[], float]
    fails: bool = False


class Metrics(HTTPGroup, AgentGroup, LLMGroup, ToolGroup, SandboxGroup, CacheGroup, TellingGroup):
    """The metrics, one attribute each, under the names that dashboards and alerts use."""

    def __init__(self, http_edges: Iterable[float] = ()) -> None:
        """
        Make every metric; `http_edges` (seconds) are added to those of HTTP durations.

        `registry` holds what this process counts, and `exposed` is what a scrape is shown: the
        same, or what all workers count together.
        """
        self.registry = CollectorRegistry()
        self._watched: list[_Watched] = []
        ProcessCollector(registry=self.registry)
        HTTPGroup.__init__(self, self.registry, http_edges)
        AgentGroup.__init__(self, self.registry)
        LLMGroup.__init__(self, self.registry)
        ToolGroup.__init__(self, self.registry)
        SandboxGroup.__init__(self, self.registry)
        CacheGroup.__init__(self, self.registry)
        TellingGroup.__init__(self, self.registry)
        self.exposed = self._exposed()

    def _exposed(self) -> CollectorRegistry:
        """Answer what a scrape is shown: this process, or all workers."""
        directory = directory_of_workers()
        if directory is None:
            return self.registry
        everything = CollectorRegistry()
        everything.register(
            AllWorkers(
                directory,
                own=(self.app_info, self.sandbox_isolation),
                shared=((self.cache_size, DISK), (self.cache_entries, DISK)),
            )
        )
        return everything

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """
        Set a gauge, or a child of one, to what `read` answers, now and at each refresh.

        `read` is called from several threads, and may block. What it cannot tell is NaN.
        """
        watched = _Watched(gauge, read)
        self._watched.append(watched)
        _refresh(watched)

    def refresh(self) -> None:
        """Read all that is watched. Blocks; never raises."""
        for watched in self._watched:
            _refresh(watched)

    @asynccontextmanager
    async def kept_fresh(
        self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> AsyncIterator[None]:
        """
        Refresh every REFRESH_SECONDS while the block lasts.

        A worker that is scraped refreshes its own gauges; the other workers' it finds as they
        are.
        """

        async def refresh_for_ever() -> None:
            while True:
                await sleep(REFRESH_SECONDS)
                await asyncio.to_thread(self.refresh)

        task = asyncio.ensure_future(refresh_for_ever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def watch_sessions(self, sessions: Sized) -> None:
        """Watch the number of sessions."""
        self.watch(self.active_sessions, lambda: len(sessions))

    def watch_caches(self, caches: Iterable[tuple[str, SizedStore]]) -> None:
        """Watch the sizes of the caches."""
        for cache_type, cache in caches:
            self.watch(self.cache_size.labels(cache_type), _bytes_of(cache))
            self.watch(self.cache_entries.labels(cache_type), _entries_of(cache))


def observe(histogram: Histogram, value: float, trace_id: str | None) -> None:
    """
    Add to a histogram, or a child of one, with the trace as exemplar if there is one.

    Only a trace that somebody can look up should be named: see `current_exemplar`.
    """
    histogram.observe(value, None if trace_id is None else {"trace_id": trace_id})


def _refresh(watched: _Watched) -> None:
    try:
        value = float(watched.read())
    except Exception as error:  # noqa: BLE001  # the other metrics must be told all the same
        if not watched.fails:
            logger.warning("a gauge cannot be read: %s", type(error).__name__)
        watched.fails = True
        value = math.nan
    else:
        watched.fails = False
    watched.gauge.set(value)


def _bytes_of(cache: SizedStore) -> Callable[[], float]:
    return lambda: cache.size_bytes


def _entries_of(cache: SizedStore) -> Callable[[], float]:
    return lambda: len(cache)
