"""The sink of spans: what it counts, what it keeps, and how it fails."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from starlette.testclient import TestClient

from benchmarks.otlp_sink import KEPT, STATUS, create_app, kept

PATH = "/api/public/otel/v1/traces"


def export(spans: int) -> bytes:
    scope = ScopeSpans(spans=[Span(name=f"span {number}") for number in range(spans)])
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[scope])]
    ).SerializeToString()


def test_spans_are_counted_and_bytes_as_they_came() -> None:
    plain, packed = export(3), gzip.compress(export(2))
    client = TestClient(create_app())

    assert [client.post(PATH, content=body).status_code for body in (plain, packed)] == [200, 200]

    assert client.get("/counts").json() == {
        "requests": 2,
        "body_bytes": len(plain) + len(packed),
        "plain_bytes": len(plain) + len(export(2)),
        "spans": 5,
    }  # fmt: skip


def test_what_is_refused_has_no_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STATUS, "429")
    client = TestClient(create_app())

    assert client.post(PATH, content=export(3)).status_code == 429

    counts = client.get("/counts").json()
    assert (counts["requests"], counts["plain_bytes"], counts["spans"]) == (1, 0, 0)


def test_bodies_are_kept_for_those_who_store_them_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "bodies"
    monkeypatch.setenv(KEPT, str(file))
    client = TestClient(create_app())
    client.post(PATH, content=gzip.compress(export(2)))
    client.post(PATH, content=export(1))

    assert list(kept(file)) == [export(2), export(1)]
    assert json.loads(client.get("/counts").text)["spans"] == 3
