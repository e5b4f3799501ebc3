"""
How spans leave the process: in batches, by a thread of the SDK, and never in the app's way.

The ledger bounds what waits, the circuit breaker stops trying when a server fails, and each
request is counted with its status, time and size.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError

from target_app.observability.circuit import Clock, make_circuit
from target_app.observability.ledger import Ledger, Room, SinkName
from target_app.observability.metrics import Metrics

logger = logging.getLogger(__name__)

EXPORT_SECONDS = 5.0
"""How long one batch may take, with the attempts made again."""


@dataclass(frozen=True, slots=True)
class Terms:
    """
    On what terms spans are sent.

    `room` is what may wait, None what the SDK has; `seconds` bounds the sending of one batch;
    `clock` tells when a circuit breaker may try again.
    """

    room: Room | None = None
    seconds: float = EXPORT_SECONDS
    clock: Clock = time.monotonic


class ExportFailedError(Exception):
    """A batch was not taken by the server."""


class CountedSession(requests.Session):
    """An HTTP session whose requests are counted. `outcome` is what the last one came to."""

    def __init__(self, sink: SinkName, metrics: Metrics) -> None:
        """Count as `sink`."""
        super().__init__()
        self._sink = sink
        self._metrics = metrics
        self._seconds = metrics.trace_export_duration.labels(sink)
        self._bytes = metrics.trace_export_bytes.labels(sink)
        self.outcome = ""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """
        Send one request. Raises what `requests` raises.

        With no time left nothing is sent or counted: the SDK may try again in the very moment
        that its time ends, which would otherwise be an error of another kind.
        """
        if options.get("timeout") == 0:
            raise requests.Timeout("no time left")
        started = time.perf_counter()
        outcome = "error"
        try:
            response = super().send(request, **options)
            outcome = str(response.status_code)
        except requests.Timeout:
            outcome = "timeout"
            raise
        except requests.ConnectionError:
            outcome = "connection"
            raise
        else:
            return response
        finally:
            self.outcome = outcome
            self._seconds.observe(time.perf_counter() - started)
            self._metrics.trace_exports.labels(self._sink, outcome).inc()
            if outcome != "connection":
                self._bytes.inc(len(request.body or b""))


class OTLPExporter(SpanExporter):
    """
    The SDK's OTLP exporter over HTTP, counted. A redirect, which it takes for success, fails.

    `why` says in a few words how the last batch failed.
    """

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        sink: SinkName,
        metrics: Metrics,
        seconds: float = EXPORT_SECONDS,
    ) -> None:
        """Send to `endpoint`, a whole URL, each batch within `seconds`."""
        self.endpoint = endpoint
        self._session = CountedSession(sink, metrics)
        self._exporter = OTLPSpanExporter(
            endpoint=endpoint,
            headers=headers,
            timeout=seconds,
            compression=Compression.Gzip,
            session=self._session,
        )
        # It writes a line for every batch and attempt that fails; the circuit writes one.
        logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; what may work a second later is tried again, while there is time."""
        self._session.outcome = ""
        result = self._exporter.export(spans)
        if self._session.outcome.startswith("3"):
            return SpanExportResult.FAILURE
        return result

    def why(self) -> str:
        """Say how the last batch failed."""
        outcome = self._session.outcome
        match outcome:
            case "401" | "403":
                return f"it answers with status {outcome}; are the keys right?"
            case "timeout":
                return "it does not answer in time"
            case "connection":
                return "there is no connection to it"
            case "" | "error":
                return "sending fails"
        return f"it answers with status {outcome}"

    def shutdown(self) -> None:
        """Stop sending, and trying again."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return self._exporter.force_flush(timeout_millis)


class GuardedExporter(SpanExporter):
    """An exporter behind a circuit breaker, whose every span is settled in the ledger."""

    def __init__(self, exporter: SpanExporter, ledger: Ledger, circuit: CircuitBreaker) -> None:
        """Wrap `exporter`."""
        self._exporter = exporter
        self._ledger = ledger
        self._circuit = circuit

    @property
    def is_reachable(self) -> bool:
        """Whether the server is not given up, and there is room for a span that ends now."""
        return self._circuit.current_state == STATE_CLOSED and self._ledger.has_room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, unless the circuit is open or the app gave it up already."""
        if not self._ledger.take(spans):
            return SpanExportResult.FAILURE
        try:
            self._circuit.call(self._send, spans)
        except CircuitBreakerError:
            self._ledger.settle("circuit_open")
        except Exception:  # noqa: BLE001 - whatever an exporter raises, the batch is lost
            self._ledger.settle("export_failed")
        else:
            self._ledger.settle("exported")
            return SpanExportResult.SUCCESS
        return SpanExportResult.FAILURE

    def _send(self, spans: Sequence[ReadableSpan]) -> None:
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise ExportFailedError

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Pass the wish on."""
        return self._exporter.force_flush(timeout_millis)


def guarded(
    exporter: SpanExporter, ledger: Ledger, metrics: Metrics, terms: Terms
) -> GuardedExporter:
    """Put an exporter behind a circuit breaker, which says what it knows of the failures."""
    if isinstance(exporter, OTLPExporter):
        name, why = exporter.endpoint, exporter.why
    else:
        name, why = type(exporter).__name__, lambda: "sending fails"
    gauge = metrics.trace_circuit_open.labels(ledger.sink)
    circuit = make_circuit(name, gauge, why, terms.clock)
    return GuardedExporter(exporter, ledger, circuit)


def close_within(flush: Callable[[], None], ledger: Ledger, timeout_seconds: float) -> None:
    """
    Flush what waits, but no longer than `timeout_seconds`; what is left then is counted as lost.

    The SDK's own flush has no time limit, so a daemon thread does it, which can be left behind.
    """
    ledger.refuse()
    worker = threading.Thread(target=flush, name="trace-flush", daemon=True)
    worker.start()
    worker.join(timeout_seconds)
    lost = ledger.abandon()
    if worker.is_alive() or lost:
        logger.warning(
            "not all traces could be sent within %g s; %d spans are lost", timeout_seconds, lost
        )
