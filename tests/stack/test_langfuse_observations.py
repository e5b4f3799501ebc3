"""Asking for observations: plain parameters, structured filters, field groups and pages."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from starlette.datastructures import QueryParams

from harness.stack.langfuse.filters import QueryError
from harness.stack.langfuse.observations import page
from harness.stack.langfuse.otlp import decode
from harness.stack.langfuse.pricing import charge
from harness.stack.langfuse.rows import row_of
from harness.stack.langfuse.store import Store

SPANS = {
    "chat": {
        "langfuse.observation.type": "agent",
        "session.id": "s1",
        "langfuse.trace.tags": ["run:a", "scenario:cold"],
        "langfuse.environment": "bench",
        "langfuse.observation.metadata.run": "a",
        "langfuse.observation.metadata.long": "x" * 300,
        "langfuse.observation.input": "why?",
    },
    "llm": {
        "langfuse.observation.type": "generation",
        "langfuse.trace.tags": ["run:a"],
        "langfuse.observation.model.name": "gpt-5",
        "langfuse.observation.usage_details": '{"input": 10, "output": 5}',
        "langfuse.observation.cost_details": '{"total": 0.5}',
        "user.id": "u1",
        "langfuse.version": "v9",
    },
    "grep": {
        "langfuse.observation.type": "tool",
        "langfuse.observation.level": "ERROR",
        "langfuse.trace.tags": ["run:b", "run:b"],
    },
}
"""Three spans by name, one second apart; the first is the parent of the others."""


def value(sent):
    if isinstance(sent, list):
        items = [AnyValue(string_value=item) for item in sent]
        return AnyValue(array_value=ArrayValue(values=items))
    return AnyValue(string_value=sent)


@pytest.fixture(scope="module")
def store():
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number, (name, attributes) in enumerate(SPANS.items(), start=1):
        spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            parent_span_id=b"" if number == 1 else (1).to_bytes(8, "big"),
            name=name,
            start_time_unix_nano=number * 1_000_000_000,
            end_time_unix_nano=number * 1_100_000_000,
            attributes=[KeyValue(key=key, value=value(sent)) for key, sent in attributes.items()],
        )
    store = Store(":memory:", clock=lambda: 0.0)
    store.add(
        row_of(one, charge(None, one.usage, one.cost), "now")
        for one in decode(request.SerializeToString())
    )
    yield store
    store.close()


def names(store, *parameters):
    return [row["name"] for row in page(store, QueryParams(parameters))["data"]]


def filtered(store, **asked):
    return names(store, ("filter", json.dumps([asked])))


def test_without_parameters_everything_comes_newest_first(store):
    assert names(store) == ["grep", "llm", "chat"]


@pytest.mark.parametrize(
    ("parameter", "asked", "found"),
    [
        pytest.param("name", "llm", ["llm"], id="name"),
        pytest.param("type", "TOOL", ["grep"], id="type"),
        pytest.param("level", "ERROR", ["grep"], id="level"),
        pytest.param("sessionId", "s1", ["chat"], id="session"),
        pytest.param("userId", "u1", ["llm"], id="user"),
        pytest.param("version", "v9", ["llm"], id="version"),
        pytest.param("environment", "bench", ["chat"], id="environment"),
        pytest.param("traceId", "0" * 31 + "2", ["llm"], id="trace"),
        pytest.param("parentObservationId", "0" * 15 + "1", ["grep", "llm"], id="parent"),
        pytest.param("parentObservationId", "", ["chat"], id="an empty parent: those without one"),
        pytest.param("isRootObservation", "true", ["chat"], id="roots"),
        pytest.param("isRootObservation", "false", ["grep", "llm"], id="all but roots"),
        pytest.param("fromStartTime", "1970-01-01T00:00:02Z", ["grep", "llm"], id="from included"),
        pytest.param("toStartTime", "1970-01-01T00:00:02Z", ["chat"], id="to left out"),
        pytest.param("fromStartTime", "1970-01-01T01:00:03+01:00", ["grep"], id="another zone"),
        pytest.param("name", "' OR '1'='1", [], id="a value is never SQL"),
    ],
)
def test_a_plain_parameter(store, parameter, asked, found):
    assert names(store, (parameter, asked)) == found


def test_plain_parameters_must_all_hold(store):
    assert names(store, ("level", "DEFAULT"), ("parentObservationId", "0" * 15 + "1")) == ["llm"]


def test_environments_may_be_several(store):
    assert names(store, ("environment", "bench"), ("environment", "default")) == names(store)


def test_a_structured_filter_replaces_the_plain_ones(store):
    asked = json.dumps([{"type": "string", "column": "name", "operator": "=", "value": "llm"}])

    assert names(store, ("name", "chat"), ("filter", asked)) == ["llm"]


@pytest.mark.parametrize(
    ("operator", "asked", "found"),
    [
        pytest.param("=", "llm", ["llm"], id="equal"),
        pytest.param("contains", "l", ["llm"], id="contains"),
        pytest.param("does not contain", "l", ["grep", "chat"], id="does not contain"),
        pytest.param("starts with", "c", ["chat"], id="starts with"),
        pytest.param("ends with", "p", ["grep"], id="ends with"),
        pytest.param("contains", "%", [], id="a percent sign is a percent sign"),
        pytest.param("contains", "LL", [], id="case matters"),
    ],
)
def test_text(store, operator, asked, found):
    assert filtered(store, type="string", column="name", operator=operator, value=asked) == found


@pytest.mark.parametrize(
    ("column", "operator", "asked", "found"),
    [
        pytest.param("type", "any of", ["TOOL", "AGENT"], ["grep", "chat"], id="any of"),
        pytest.param("type", "none of", ["TOOL", "AGENT"], ["llm"], id="none of"),
        pytest.param(
            "parentObservationId", "none of", ["0" * 15 + "1"], ["chat"], id="none of, with none"
        ),
        pytest.param("providedModelName", "any of", ["gpt-5"], ["llm"], id="by an alias"),
    ],
)
def test_options(store, column, operator, asked, found):
    assert (
        filtered(store, type="stringOptions", column=column, operator=operator, value=asked)
        == found
    )


@pytest.mark.parametrize(
    ("operator", "asked", "found"),
    [
        pytest.param("any of", ["run:a"], ["llm", "chat"], id="any of one"),
        pytest.param("any of", ["run:b", "scenario:cold"], ["grep", "chat"], id="any of two"),
        pytest.param("all of", ["run:a", "scenario:cold"], ["chat"], id="all of"),
        pytest.param("all of", ["run:a", "run:a"], ["llm", "chat"], id="all of one, said twice"),
        pytest.param("all of", ["run:b", "run:c"], [], id="a tag sent twice is one of two"),
        pytest.param("none of", ["run:a"], ["grep"], id="none of"),
        pytest.param("any of", ["run:"], [], id="a part of a tag is no tag"),
    ],
)
@pytest.mark.parametrize("column", ["tags", "traceTags"])
def test_tags(store, column, operator, asked, found):
    assert (
        filtered(store, type="arrayOptions", column=column, operator=operator, value=asked)
        == found
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param(
            {"type": "number", "column": "totalCost", "operator": ">", "value": 0},
            ["llm"],
            id="cost above",
        ),
        pytest.param(
            {"type": "number", "column": "totalTokens", "operator": "=", "value": 15},
            ["llm"],
            id="tokens equal",
        ),
        pytest.param(
            {"type": "number", "column": "latency", "operator": ">=", "value": 0.2},
            ["grep", "llm"],
            id="latency in seconds",
        ),
        pytest.param(
            {
                "type": "datetime",
                "column": "startTime",
                "operator": "<=",
                "value": "1970-01-01T00:00:02",
            },
            ["llm", "chat"],
            id="instant without a zone is UTC",
        ),
        pytest.param(
            {"type": "boolean", "column": "isRootObservation", "operator": "<>", "value": True},
            ["grep", "llm"],
            id="not true",
        ),
        pytest.param(
            {"type": "null", "column": "sessionId", "operator": "is null", "value": ""},
            ["grep", "llm"],
            id="text never sent is null",
        ),
        pytest.param(
            {"type": "null", "column": "parentObservationId", "operator": "is not null"},
            ["grep", "llm"],
            id="not null",
        ),
        pytest.param(
            {
                "type": "stringObject",
                "column": "metadata",
                "key": "run",
                "operator": "=",
                "value": "a",
            },
            ["chat"],
            id="metadata by key",
        ),
        pytest.param(
            {
                "type": "stringObject",
                "column": "metadata",
                "key": "other",
                "operator": "=",
                "value": "a",
            },
            [],
            id="metadata by another key",
        ),
    ],
)
def test_a_structured_filter(store, asked, found):
    assert filtered(store, **asked) == found


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        pytest.param("core", set(), id="core is always there"),
        pytest.param("metrics, nonsense", {"latency", "timeToFirstToken"}, id="unknown ignored"),
        pytest.param("trace_context,io", {"tags", "release", "traceName", "input", "output"}),
        pytest.param(
            "",
            {
                "name",
                "level",
                "statusMessage",
                "version",
                "environment",
                "bookmarked",
                "public",
                "userId",
                "sessionId",
                "isRootObservation",
            },
            id="basic unless told otherwise",
        ),
    ],
)
def test_field_groups(store, groups, names):
    row = page(store, QueryParams({"fields": groups, "name": "chat"}))["data"][0]

    always = {
        "id",
        "traceId",
        "startTime",
        "endTime",
        "projectId",
        "parentObservationId",
        "type",
        "modelId",
        "inputPrice",
        "outputPrice",
        "totalPrice",
    }
    assert row.keys() == always | names


@pytest.mark.parametrize(
    ("parameters", "characters"),
    [
        pytest.param({}, 200, id="cut"),
        pytest.param({"expandMetadata": "other,long"}, 300, id="in full when asked for"),
    ],
)
def test_long_metadata(store, parameters, characters):
    asked = QueryParams({"fields": "metadata", "name": "chat", **parameters})

    assert len(page(store, asked)["data"][0]["metadata"]["long"]) == characters


def test_input_comes_only_when_asked_for(store):
    rows = page(store, QueryParams({"fields": "io", "name": "chat"}))["data"]

    assert [(row["input"], row["output"]) for row in rows] == [("why?", None)]


@pytest.mark.parametrize(
    ("parameter", "asked", "message"),
    [
        pytest.param("limit", "1001", "limit is a whole number from 1 to 1000", id="too many"),
        pytest.param("limit", "0", "limit is a whole number from 1 to 1000", id="none"),
        pytest.param("limit", "ten", "limit is a whole number from 1 to 1000", id="no number"),
        pytest.param("cursor", "abc", "not a cursor of this server", id="no cursor"),
        pytest.param("cursor", "WzFd", "not a cursor of this server", id="a short cursor"),
        pytest.param("fromStartTime", "noon", "not an ISO 8601 instant", id="no instant"),
        pytest.param("parseIoAsJson", "true", "no longer served", id="parsed payloads"),
        pytest.param("filter", "{", "filter is not JSON", id="no JSON"),
        pytest.param("filter", "{}", "filter is not a JSON array", id="no array"),
        pytest.param("filter", "[1]", "a filter condition is an object", id="no object"),
    ],
)
def test_a_parameter_is_refused(store, parameter, asked, message):
    with pytest.raises(QueryError, match=message):
        page(store, QueryParams({parameter: asked}))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param({"type": "magic"}, "filter type 'magic' is not served", id="type"),
        pytest.param(
            {"type": "string", "column": "colour"}, "column 'colour' is not served", id="column"
        ),
        pytest.param(
            {"type": "string", "column": "input"}, "column 'input' is not served", id="payload"
        ),
        pytest.param(
            {"type": "string", "column": "name", "operator": ">", "value": "a"},
            "operator '>' is not served for filter type 'string'",
            id="operator",
        ),
        pytest.param(
            {"type": "string", "column": "name", "operator": "=", "value": 1},
            "value 1 does not suit filter type 'string'",
            id="a number for text",
        ),
        pytest.param(
            {"type": "stringOptions", "column": "name", "operator": "any of", "value": []},
            "not a list of at least one text",
            id="no options",
        ),
        pytest.param(
            {"type": "number", "column": "latency", "operator": "=", "value": True},
            "value True is not a number",
            id="a boolean for a number",
        ),
        pytest.param(
            {"type": "arrayOptions", "column": "name", "operator": "any of", "value": ["a"]},
            "served for the column tags",
            id="text as an array",
        ),
        pytest.param(
            {"type": "datetime", "column": "name", "operator": ">", "value": "2026-01-01"},
            "column name holds no instant",
            id="text as an instant",
        ),
        pytest.param(
            {"type": "stringObject", "column": "metadata", "operator": "=", "value": "a"},
            "with a key",
            id="metadata without a key",
        ),
    ],
)
def test_a_filter_is_refused(store, asked, message):
    with pytest.raises(QueryError, match=message):
        filtered(store, **asked)
