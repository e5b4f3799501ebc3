"""An export becomes observations, or is refused as a whole."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from harness.stack.langfuse.otlp import BadBatchError, Observation, decode

IDS = {"trace_id": bytes(15) + b"\x01", "span_id": bytes(7) + b"\x02"}


def any_value(value):
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, bytes):
        return AnyValue(bytes_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=pairs(value)))
    return AnyValue() if value is None else AnyValue(string_value=value)


def pairs(attributes):
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def export(attributes, resource=None, **span):
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.extend(pairs(resource or {}))
    spans = group.scope_spans.add()
    spans.scope.name = "sdk"
    spans.spans.add(attributes=pairs(attributes), **{**IDS, **span})
    return request.SerializeToString()


def only(attributes, resource=None, **span):
    (observation,) = decode(export(attributes, resource, **span))
    return observation


def test_a_bare_span():
    assert only({}, name="s", start_time_unix_nano=1_999_999, end_time_unix_nano=3_000_000) == (
        Observation(
            id="0000000000000002",
            trace_id="00000000000000000000000000000001",
            parent_id=None,
            is_root=True,
            type="SPAN",
            name="s",
            start_ms=1,
            end_ms=3,
            completion_start_ms=None,
            level="DEFAULT",
            status_message="",
            environment="default",
            release="",
            version="",
            trace_name="",
            user_id="",
            session_id="",
            tags=(),
            metadata={"scope.name": "sdk", "scope.version": ""},
            input=None,
            output=None,
            model="",
            model_parameters={},
            usage={},
            cost={},
            prompt_name="",
            prompt_version=None,
        )
    )


@pytest.mark.parametrize(
    ("attributes", "field", "value"),
    [
        pytest.param({"langfuse.observation.type": "tool"}, "type", "TOOL", id="type"),
        pytest.param({"langfuse.observation.type": "magic"}, "type", "SPAN", id="unknown type"),
        pytest.param({"langfuse.observation.level": "DEBUG"}, "level", "DEBUG", id="level"),
        pytest.param(
            {"langfuse.observation.level": "LOUD"}, "level", "DEFAULT", id="unknown level"
        ),
        pytest.param(
            {"langfuse.observation.completion_start_time": '"1970-01-01T00:00:01.333999Z"'},
            "completion_start_ms",
            1333,
            id="first token, JSON-quoted, cut to the millisecond",
        ),
        pytest.param(
            {"langfuse.observation.completion_start_time": "1970-01-02T00:00:00"},
            "completion_start_ms",
            86_400_000,
            id="first token, bare, UTC when it does not say",
        ),
        pytest.param(
            {"langfuse.observation.completion_start_time": "soon"},
            "completion_start_ms",
            None,
            id="a first token at no known time",
        ),
        pytest.param(
            {"langfuse.observation.usage_details": '{"input": 1, "deep": {"a": 2}}'},
            "usage",
            {"input": 1, "deep": {"a": 2}},
            id="usage is decoded, not judged",
        ),
        pytest.param(
            {"langfuse.observation.usage_details": "[1]"}, "usage", {}, id="usage that is a list"
        ),
        pytest.param(
            {"langfuse.observation.cost_details": '{"input": 0.1, "output": "x", "b": true}'},
            "cost",
            {"input": 0.1},
            id="cost keeps its numbers",
        ),
        pytest.param(
            {"langfuse.observation.model.parameters": '{"temperature": 0}'},
            "model_parameters",
            {"temperature": 0},
            id="model parameters",
        ),
        pytest.param({"langfuse.trace.tags": ["a", "b"]}, "tags", ("a", "b"), id="tags"),
        pytest.param({"langfuse.trace.tags": "a"}, "tags", (), id="tags that are no list"),
        pytest.param(
            {"langfuse.observation.prompt.version": 3}, "prompt_version", 3, id="prompt version"
        ),
        pytest.param(
            {"langfuse.environment": "Prod"}, "environment", "prod", id="environment in capitals"
        ),
        pytest.param(
            {"langfuse.environment": "Prod Env!"},
            "environment",
            "default",
            id="an environment that the server does not take",
        ),
        pytest.param(
            {"langfuse.environment": "langfuse-x"},
            "environment",
            "-x",
            id="the reserved prefix is taken off",
        ),
        pytest.param(
            {"langfuse.observation.input": "{1"}, "input", "{1", id="input stays as sent"
        ),
        pytest.param(
            {"langfuse.observation.output": {"a": [1, None]}},
            "output",
            '{"a": [1, null]}',
            id="output sent as structure becomes JSON",
        ),
    ],
)
def test_an_attribute(attributes, field, value):
    assert getattr(only(attributes), field) == value


def test_metadata_is_decoded_and_says_where_the_span_came_from():
    observation = only(
        {
            "langfuse.trace.metadata.run": '"r1"',
            "langfuse.trace.metadata.both": "trace",
            "langfuse.observation.metadata.both": "own",
            "langfuse.observation.metadata.deep": '{"a": [1]}',
            "langfuse.observation.metadata.raw": b"\x0f",
        },
        resource={"service.name": "app"},
    )

    assert observation.metadata == {
        "run": "r1",
        "both": "own",
        "deep": {"a": [1]},
        "raw": "0f",
        "resourceAttributes.service.name": "app",
        "scope.name": "sdk",
        "scope.version": "",
    }


def test_environment_and_release_may_come_from_the_resource():
    observation = only({}, {"langfuse.environment": "bench", "langfuse.release": "r1"})

    assert (observation.environment, observation.release) == ("bench", "r1")


def test_an_error_status_sets_the_level_and_the_message():
    observation = only({}, status={"code": 2, "message": "boom"})

    assert (observation.level, observation.status_message) == ("ERROR", "boom")


def test_a_level_that_was_set_beats_the_status():
    observation = only(
        {"langfuse.observation.level": "WARNING", "langfuse.observation.status_message": "slow"},
        status={"code": 2, "message": "boom"},
    )

    assert (observation.level, observation.status_message) == ("WARNING", "slow")


@pytest.mark.parametrize(
    ("attributes", "is_root"),
    [
        pytest.param({}, False, id="a child is no root"),
        pytest.param({"langfuse.internal.is_app_root": True}, True, id="unless the SDK says so"),
    ],
)
def test_a_span_with_a_parent(attributes, is_root):
    observation = only(attributes, parent_span_id=bytes(7) + b"\x09")

    assert (observation.parent_id, observation.is_root) == ("0000000000000009", is_root)


@pytest.mark.parametrize(
    "span",
    [
        pytest.param({"trace_id": b""}, id="no trace id"),
        pytest.param({"trace_id": bytes(16)}, id="a trace id of zeros"),
        pytest.param({"trace_id": b"\x01" * 8}, id="a short trace id"),
        pytest.param({"span_id": b""}, id="no span id"),
        pytest.param({"span_id": bytes(8)}, id="a span id of zeros"),
        pytest.param({"parent_span_id": b"\x01"}, id="a short parent id"),
    ],
)
def test_one_bad_id_refuses_the_batch(span):
    with pytest.raises(BadBatchError, match=r"span 's' has no valid .* id"):
        decode(export({}, name="s", **span))


def test_bytes_that_are_no_export_are_refused():
    with pytest.raises(BadBatchError, match="the body is not an ExportTraceServiceRequest"):
        decode(b"{}")
