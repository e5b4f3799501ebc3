"""Metrics of the caches."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from target_app.agent.tools import CACHE_TYPES, CacheType
from target_app.cache.state import Change
from target_app.observability.metrics.edges import CACHE_EDGES

MISS_REASONS = ("absent", "file_change", "directory_change", "ttl_expired", "in_flight")
"""Why a cache had no answer; in flight: another call was finding it out already."""

DISK = "disk"
"""The label of what all caches, and all workers, have on disk together."""


class CacheGroup:
    """What is told of the caches."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Make the metrics and all their children."""
        self.cache_operations = Counter(
            "cache_operations_total",
            "Uses of the caches. A set that is a miss was not kept.",
            ["operation", "cache_type", "result"],
            registry=registry,
        )
        self.cache_operation_duration = Histogram(
            "cache_operation_duration_seconds",
            "Uses of the caches.",
            ["operation", "cache_type"],
            buckets=CACHE_EDGES,
            registry=registry,
        )
        self.cache_invalidations = Counter(
            "cache_invalidations_total",
            "Entries dropped because they are or may be untrue.",
            ["cache_type", "reason"],
            registry=registry,
        )
        self.cache_misses = Counter(
            "cache_misses_total",
            "Questions that a cache could not answer.",
            ["cache_type", "reason"],
            registry=registry,
        )
        self.cache_evictions = Counter(
            "cache_evictions_total",
            "True entries dropped to make room.",
            ["cache_type", "tier"],
            registry=registry,
        )
        self.cache_saved = Counter(
            "cache_saved_seconds_total",
            "Time the commands took whose results were answered from a cache.",
            ["cache_type"],
            registry=registry,
        )
        self.cache_size = Gauge(
            "cache_size_bytes",
            "Bytes held.",
            ["cache_type"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.cache_entries = Gauge(
            "cache_entries_total",
            "Entries held.",
            ["cache_type"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.cache_disk_usage = Gauge(
            "cache_disk_usage_bytes",
            "Size of the files that the caches have on disk.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.cache_max_staleness = Gauge(
            "cache_max_staleness_seconds",
            "How old at most is what the caches know of the files.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        for cache_type in CACHE_TYPES:
            self._make_children(cache_type)
        for held_in in (*CACHE_TYPES, DISK):
            self.cache_size.labels(held_in)
            self.cache_entries.labels(held_in)

    def _make_children(self, cache_type: CacheType) -> None:
        for operation in ("get", "set", "delete"):
            self.cache_operation_duration.labels(operation, cache_type)
            for result in ("hit", "miss", "error"):
                self.cache_operations.labels(operation, cache_type, result)
        for change in Change:
            self.cache_invalidations.labels(cache_type, change)
        for reason in MISS_REASONS:
            self.cache_misses.labels(cache_type, reason)
        for tier in ("memory", "disk"):
            self.cache_evictions.labels(cache_type, tier)
        self.cache_saved.labels(cache_type)
