"""What a caller says about its own trace, in the W3C headers `traceparent` and `baggage`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
SAMPLED = 0x01
"""The one flag of version 0 of the standard."""

TAG_KEYS = ("run", "scenario")
TAG_VALUE = re.compile(r"[\x21-\x7e]{1,150}")
"""Longer tags, and other than ASCII ones, would be dropped by Langfuse."""

KNOWN_CHARACTERS = 512
"""Longer baggage is not remembered, to bound the memory it takes."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """
    The trace a request belongs to.

    Without a valid `traceparent` both ids are None and the trace begins here. `sampled` is the
    caller's flag: whether it may have recorded the trace.
    """

    trace_id: str | None = None
    parent_span_id: str | None = None
    tags: tuple[str, ...] = ()
    sampled: bool = True


def read_trace_context(headers: Mapping[str, str]) -> TraceContext:
    """
    Read the headers of a request; what is malformed is ignored, as the standard wants it.

    Tags are made of the baggage members named in TAG_KEYS: `run=1` becomes `run:1`.
    Source: W3C Trace Context level 1, section 3.2, and W3C Baggage, section 3.
    """
    return parse_trace_context(headers.get("traceparent", ""), headers.get("baggage", ""))


def parse_trace_context(traceparent: str, baggage: str) -> TraceContext:
    """Read the two headers themselves; "" stands for one that is missing."""
    tags: tuple[str, ...] = ()
    if baggage:
        # A load of requests brings the same words again and again.
        tags = _known_tags(baggage) if len(baggage) <= KNOWN_CHARACTERS else _tags(baggage)
    match = TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return TraceContext(tags=tags)
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "00" and rest:
        return TraceContext(tags=tags)
    return TraceContext(trace_id, span_id, tags, sampled=bool(int(flags, 16) & SAMPLED))


def _tags(baggage: str) -> tuple[str, ...]:
    members: dict[str, str] = {}
    for member in baggage.split(","):
        key, _, value = member.partition(";")[0].partition("=")
        text = unquote(value.strip())
        if key.strip() in TAG_KEYS and TAG_VALUE.fullmatch(text):
            members[key.strip()] = text
    return tuple(f"{key}:{members[key]}" for key in TAG_KEYS if key in members)


_known_tags = lru_cache(maxsize=256)(_tags)
