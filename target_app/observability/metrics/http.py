"""Metrics of requests, of errors of every kind, and of the process that serves."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from target_app.agent.llm import LLMError
from target_app.observability.metrics.edges import (
    HTTP_EDGES,
    LADDER,
    LAG_EDGES,
    SIZE_EDGES,
    union,
)
from target_app.sandbox.result import BLOCKS

KNOWN_ERRORS = (
    *((kind, "llm") for kind in LLMError.KINDS),
    ("usage_missing", "llm"),
    ("unpriced", "llm"),
    *((block, "sandbox") for block in BLOCKS),
    ("timeout", "sandbox"),
    ("unavailable", "sandbox"),
    ("internal", "sandbox"),
    ("client_disconnected", "agent"),
    ("internal", "agent"),
)
"""Pairs of error_type and component that this app can count."""


class HTTPGroup:
    """
    What is told of requests.

    Routes are known once the app is made, see `know_routes`; statuses other than the usual ones,
    and all sizes and durations, come with the first request of their kind.
    """

    def __init__(self, registry: CollectorRegistry, edges: Iterable[float]) -> None:
        """Make the metrics; `edges` (seconds) are added to those of the durations."""
        self.app_info = Info("app", "What is running.", registry=registry)
        self.http_requests = Counter(
            "http_requests_total",
            "Requests answered, or aborted by the client.",
            ["method", "endpoint", "status"],
            registry=registry,
        )
        self.http_request_duration = Histogram(
            "http_request_duration_seconds",
            "From the arrival of a request to the last piece of its answer.",
            ["method", "endpoint"],
            buckets=union(LADDER, HTTP_EDGES, edges),
            registry=registry,
        )
        self.http_request_size = Histogram(
            "http_request_size_bytes",
            "Body of a request.",
            ["method", "endpoint"],
            buckets=SIZE_EDGES,
            registry=registry,
        )
        self.http_response_size = Histogram(
            "http_response_size_bytes",
            "Body of an answer, streamed or not.",
            ["method", "endpoint"],
            buckets=SIZE_EDGES,
            registry=registry,
        )
        self.http_in_flight = Gauge(
            "http_requests_in_flight",
            "Requests whose answer has not ended.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.event_loop_lag = Histogram(
            "event_loop_lag_seconds",
            "How much later than wanted the event loop ran what was due.",
            buckets=LAG_EDGES,
            registry=registry,
        )
        self.errors = Counter(
            "errors_total", "Errors by kind.", ["error_type", "component"], registry=registry
        )
        for error_type, component in KNOWN_ERRORS:
            self.errors.labels(error_type, component)

    def know_routes(self, routes: Iterable[tuple[str, str, int]]) -> None:
        """
        Have counts of 0 for each method, route template and the status of its good answers.

        And for its failures: the first one would else be no increase, but a beginning.
        """
        for method, template, status in routes:
            for known in (status, 500):
                self.http_requests.labels(method, template, str(known))
