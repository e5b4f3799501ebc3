"""Rows go in all or none, and come out when they are old enough."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness.stack.langfuse.otlp import decode
from harness.stack.langfuse.pricing import Charge
from harness.stack.langfuse.rows import row_of
from harness.stack.langfuse.store import Store, Where


def row(start_ms, identity="a", **changes):
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\x01" * 16, span_id=b"\x02" * 8
    )
    (observation,) = decode(request.SerializeToString())
    changed = replace(observation, id=identity, start_ms=start_ms, **changes)
    return row_of(changed, Charge(), "now")


@pytest.fixture
def store():
    store = Store(":memory:", clock=lambda: 100.0)
    yield store
    store.close()


def found(store, *conditions, limit=None):
    return [
        (one.row.start_ms, one.row.fields["id"], one.arrival)
        for one in store.read(conditions, limit)
    ]


def test_newest_first_then_by_id_then_the_later_arrival(store):
    store.add([row(1, "a"), row(2, "a"), row(2, "b"), row(2, "a")])

    assert found(store) == [(2, "b", 3), (2, "a", 4), (2, "a", 2), (1, "a", 1)]
    assert found(store, limit=2) == [(2, "b", 3), (2, "a", 4)]


def test_all_conditions_must_hold(store):
    store.add([row(1, "a"), row(2, "a"), row(2, "b")])

    assert found(store, Where('"startTime" = ?', (2,)), Where("id = ? OR 0", ("a",))) == [
        (2, "a", 2)
    ]


def test_one_bad_row_stores_none(store):
    with pytest.raises(sqlite3.Error):
        store.add([row(1), row(2, input=object())])

    assert found(store) == []


def test_payload_is_read_only_when_asked_for(store):
    store.add([row(1, input="why?", output="so")])

    read = [store.read([], payload=asked)[0].row.fields for asked in (False, True)]

    assert [(fields["input"], fields["output"]) for fields in read] == [
        (None, None),
        ("why?", "so"),
    ]


def test_a_path_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(sqlite3.Error, match="unable to open"):
        Store(str(tmp_path / "no" / "such.db"), clock=lambda: 0.0)
