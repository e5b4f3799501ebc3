"""How the numbers and instants of a row are written."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from harness.stack.langfuse.otlp import decode
from harness.stack.langfuse.pricing import Charge, Model, Tier
from harness.stack.langfuse.rows import instant, row_of


def fields(charge, **changes):
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\x01" * 16, span_id=b"\x02" * 8
    )
    (observation,) = decode(request.SerializeToString())
    return row_of(replace(observation, **changes), charge, "now").fields


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        pytest.param(0, "1970-01-01T00:00:00.000Z", id="the epoch"),
        pytest.param(1_795_294_138_007, "2026-11-21T20:48:58.007Z", id="three digits always"),
    ],
)
def test_an_instant(milliseconds, text):
    assert instant(milliseconds) == text


@pytest.mark.parametrize(
    ("changes", "latency", "first_token"),
    [
        pytest.param(
            {"start_ms": 1000, "end_ms": 2500, "completion_start_ms": 1250},
            1.5,
            0.25,
            id="seconds",
        ),
        pytest.param(
            {"start_ms": 1000, "end_ms": 1000, "completion_start_ms": 1000},
            None,
            None,
            id="0 ms is nothing to tell",
        ),
        pytest.param({"start_ms": 1000, "end_ms": None}, None, None, id="no end"),
    ],
)
def test_latency_and_first_token(changes, latency, first_token):
    row = fields(Charge(), **changes)

    assert (row["latency"], row["timeToFirstToken"]) == (latency, first_token)


@pytest.mark.parametrize(
    ("price", "text"),
    [
        pytest.param(0.000001, "0.000001", id="a millionth is written out"),
        pytest.param(0.00000125, "0.00000125", id="so is a little more"),
        pytest.param(0.00000015, "1.5e-7", id="less has an exponent"),
        pytest.param(0.00000003, "3e-8", id="one digit and an exponent"),
        pytest.param(3.0, "3", id="whole"),
        pytest.param(0.0, "0", id="free"),
    ],
)
def test_a_price(price, text):
    tier = Tier("t", "Standard", {"input": price})
    row = fields(Charge(model=Model("m", "n", re.compile("n"), (tier,)), tier=tier))

    assert [row[key] for key in ("inputPrice", "outputPrice", "totalPrice")] == [text, None, None]


def test_a_cost_without_input_has_no_input_cost_rather_than_0():
    row = fields(Charge(cost={"output": 0.5}, total_cost=None))

    assert [row[key] for key in ("inputCost", "outputCost", "totalCost")] == [None, 0.5, 0]
