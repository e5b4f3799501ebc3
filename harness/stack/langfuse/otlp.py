"""
From an OTLP export to observations: what a Langfuse SDK writes into span attributes, read back.

Attribute names are those of Langfuse's OpenTelemetry convention. There is no trace entity on the
wire: every span repeats the attributes of its trace. Instants are integer milliseconds since the
epoch, cut off and not rounded, because that is all the server keeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

TYPES = frozenset(
    {
        "SPAN",
        "GENERATION",
        "EVENT",
        "AGENT",
        "TOOL",
        "CHAIN",
        "RETRIEVER",
        "EVALUATOR",
        "GUARDRAIL",
        "EMBEDDING",
    }
)
LEVELS = frozenset({"DEBUG", "DEFAULT", "WARNING", "ERROR"})
DEFAULT_ENVIRONMENT = "default"

_OBSERVATION = "langfuse.observation."
_OWN_METADATA = f"{_OBSERVATION}metadata."
_TRACE_METADATA = "langfuse.trace.metadata."
_ENVIRONMENT = re.compile(r"[a-z0-9_-]{1,40}")
_TRACE_ID_BYTES = 16
_SPAN_ID_BYTES = 8
_NANOSECONDS_PER_MILLISECOND = 1_000_000


class BadBatchError(ValueError):
    """The whole export is refused; the message says why."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One span, as the application reported it. Text that was not sent is empty, not None."""

    id: str
    trace_id: str
    parent_id: str | None
    is_root: bool
    type: str
    name: str
    start_ms: int
    end_ms: int | None
    completion_start_ms: int | None
    level: str
    status_message: str
    environment: str
    release: str
    version: str
    trace_name: str
    user_id: str
    session_id: str
    tags: tuple[str, ...]
    metadata: Mapping[str, object]
    input: str | None
    output: str | None
    model: str
    model_parameters: Mapping[str, object]
    usage: Mapping[str, object]
    cost: Mapping[str, float]
    prompt_name: str
    prompt_version: int | None


def decode(body: bytes) -> list[Observation]:
    """
    Read one protobuf ExportTraceServiceRequest as observations, in the order sent.

    Raises BadBatchError when the bytes are not one, or any span's ids are missing or malformed.
    """
    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        msg = "the body is not an ExportTraceServiceRequest"
        raise BadBatchError(msg) from error
    return [
        _observation(span, scope_spans.scope, resource_spans.resource.attributes)
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


def _observation(
    span: Span, scope: InstrumentationScope, resource_attributes: Iterable[KeyValue]
) -> Observation:
    _check_ids(span)
    resource = _attributes(resource_attributes)
    sent = _attributes(span.attributes)
    kind = _text(sent.get(f"{_OBSERVATION}type")).upper()
    failed = span.status.code == Status.STATUS_CODE_ERROR
    level = _text(sent.get(f"{_OBSERVATION}level")).upper()
    return Observation(
        id=span.span_id.hex(),
        trace_id=span.trace_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        is_root=not span.parent_span_id or sent.get("langfuse.internal.is_app_root") is True,
        type=kind if kind in TYPES else "SPAN",
        name=span.name,
        start_ms=span.start_time_unix_nano // _NANOSECONDS_PER_MILLISECOND,
        end_ms=span.end_time_unix_nano // _NANOSECONDS_PER_MILLISECOND or None,
        completion_start_ms=_instant_ms(sent.get(f"{_OBSERVATION}completion_start_time")),
        level=level if level in LEVELS else ("ERROR" if failed else "DEFAULT"),
        status_message=_text(sent.get(f"{_OBSERVATION}status_message")) or span.status.message,
        environment=_environment(
            sent.get("langfuse.environment") or resource.get("langfuse.environment")
        ),
        release=_text(sent.get("langfuse.release") or resource.get("langfuse.release")),
        version=_text(sent.get("langfuse.version")),
        trace_name=_text(sent.get("langfuse.trace.name")),
        user_id=_text(sent.get("user.id")),
        session_id=_text(sent.get("session.id")),
        tags=_texts(sent.get("langfuse.trace.tags")),
        metadata=dict(_metadata(sent, resource, scope)),
        input=_payload(sent.get(f"{_OBSERVATION}input")),
        output=_payload(sent.get(f"{_OBSERVATION}output")),
        model=_text(sent.get(f"{_OBSERVATION}model.name")),
        model_parameters=_object(sent.get(f"{_OBSERVATION}model.parameters")),
        usage=_object(sent.get(f"{_OBSERVATION}usage_details")),
        cost=_numbers(_object(sent.get(f"{_OBSERVATION}cost_details"))),
        prompt_name=_text(sent.get(f"{_OBSERVATION}prompt.name")),
        prompt_version=_whole(sent.get(f"{_OBSERVATION}prompt.version")),
    )


def _check_ids(span: Span) -> None:
    if len(span.trace_id) != _TRACE_ID_BYTES or not any(span.trace_id):
        msg = f"span {span.name!r} has no valid trace id"
        raise BadBatchError(msg)
    if len(span.span_id) != _SPAN_ID_BYTES or not any(span.span_id):
        msg = f"span {span.name!r} has no valid span id"
        raise BadBatchError(msg)
    if len(span.parent_span_id) not in {0, _SPAN_ID_BYTES}:
        msg = f"span {span.name!r} has no valid parent span id"
        raise BadBatchError(msg)


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, object]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> object:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
        case None:
            return None
        case kind:
            plain: object = getattr(value, kind)
            return plain


def _metadata(
    sent: Mapping[str, object], resource: Mapping[str, object], scope: InstrumentationScope
) -> Iterator[tuple[str, object]]:
    """Yield an observation's metadata: its trace's, its own, and where the span came from."""
    for prefix in (_TRACE_METADATA, _OWN_METADATA):
        for key, value in sent.items():
            if key.startswith(prefix):
                yield key.removeprefix(prefix), _decoded(value)
    yield from ((f"resourceAttributes.{key}", value) for key, value in resource.items())
    yield "scope.name", scope.name
    yield "scope.version", scope.version
    for key, value in _attributes(scope.attributes).items():
        yield f"scope.attributes.{key}", value


def _decoded(value: object) -> object:
    """Undo the JSON that a value may have been sent as; text that is no JSON is itself."""
    if not isinstance(value, str):
        return value
    try:
        decoded: object = json.loads(value)
    except json.JSONDecodeError:
        return value
    return decoded


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in value) if isinstance(value, list) else ()


def _payload(value: object) -> str | None:
    """Input and output stay the text that was sent, JSON or not."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _object(value: object) -> dict[str, object]:
    decoded = _decoded(value)
    return decoded if isinstance(decoded, dict) else {}


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {
        key: value
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _whole(value: object) -> int | None:
    return int(text) if (text := _text(value)).isdecimal() else None


def _instant_ms(value: object) -> int | None:
    """Read an ISO 8601 instant, JSON-quoted as the SDK sends it or bare; None if it is none."""
    text = _decoded(value)
    try:
        instant = datetime.fromisoformat(_text(text))
    except ValueError:
        return None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    since_epoch = instant - datetime.fromtimestamp(0, UTC)
    return (
        since_epoch.days * 86_400_000
        + since_epoch.seconds * 1000
        + (since_epoch.microseconds // 1000)
    )


def _environment(value: object) -> str:
    name = _text(value).lower().removeprefix("langfuse")
    return name if _ENVIRONMENT.fullmatch(name) else DEFAULT_ENVIRONMENT
