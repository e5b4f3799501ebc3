"""The question and answer of ``GET /api/public/v2/observations``: filters and cursor pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Protocol

from harness.stack.langfuse.filters import (
    QueryError,
    condition,
    is_one_of,
    parse_instant,
    start_between,
)
from harness.stack.langfuse.rows import DEFAULT_GROUPS, selected
from harness.stack.langfuse.store import Store, StoredRow, Where

LIMIT_DEFAULT = 50
LIMIT_MOST = 1000

_EQUALITIES = (
    "traceId",
    "sessionId",
    "name",
    "userId",
    "type",
    "level",
    "version",
    "parentObservationId",
)
_KEYSET = '("startTime", "traceId", "id", "arrival") < (?, ?, ?, ?)'


class Parameters(Protocol):
    """The parameters of a query string, which may repeat."""

    def get(self, key: str, /) -> str | None:
        """Give the last value of a parameter, or None."""

    def getlist(self, key: str, /) -> Sequence[str]:
        """Give every value of a parameter."""


def page(store: Store, asked: Parameters) -> dict[str, object]:
    """
    Answer one page of rows, newest first, and the cursor of the next page if there is one.

    Raises QueryError for a parameter that cannot be understood or is not served.
    """
    if asked.get("parseIoAsJson") == "true":
        msg = "parseIoAsJson is no longer served: input and output are always text"
        raise QueryError(msg)
    limit = _limit(asked.get("limit"))
    groups = _names(asked.get("fields")) or DEFAULT_GROUPS
    expanded = frozenset(_names(asked.get("expandMetadata")))
    conditions = _conditions(asked)
    if cursor := asked.get("cursor"):
        conditions.append(_after(cursor))
    found = store.read(conditions, limit + 1, payload="io" in groups)
    meta = {"cursor": _cursor(found[limit - 1])} if len(found) > limit else {}
    rows = found[:limit]
    return {"data": [selected(one.row.fields, groups, expanded) for one in rows], "meta": meta}


def _conditions(asked: Parameters) -> list[Where]:
    if (given := asked.get("filter")) is not None:
        # A structured filter replaces the plain ones, as on the server.
        return [condition(part) for part in _json_list(given)]
    conditions = [
        is_one_of(name, [value]) for name in _EQUALITIES if (value := asked.get(name)) is not None
    ]
    if environments := list(asked.getlist("environment")):
        conditions.append(is_one_of("environment", environments))
    if (root := asked.get("isRootObservation")) is not None:
        conditions.append(Where('"isRootObservation" = ?', (root.lower() == "true",)))
    start, end = (
        parse_instant(text) if (text := asked.get(name)) else None
        for name in ("fromStartTime", "toStartTime")
    )
    conditions.append(start_between(start, end, end_included=False))
    return conditions


def _json_list(text: str) -> list[object]:
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        msg = f"filter is not JSON: {error}"
        raise QueryError(msg) from error
    if not isinstance(parsed, list):
        msg = "filter is not a JSON array"
        raise QueryError(msg)
    return parsed


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT_DEFAULT
    if not text.isdecimal() or not 1 <= int(text) <= LIMIT_MOST:
        msg = f"limit is a whole number from 1 to {LIMIT_MOST}, not {text!r}"
        raise QueryError(msg)
    return int(text)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _cursor(last: StoredRow) -> str:
    fields = last.row.fields
    key = [last.row.start_ms, fields["traceId"], fields["id"], last.arrival]
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _after(cursor: str) -> Where:
    try:
        start_ms, trace_id, identity, arrival = json.loads(base64.urlsafe_b64decode(cursor))
    except (binascii.Error, ValueError, TypeError) as error:
        msg = f"not a cursor of this server: {cursor!r}"
        raise QueryError(msg) from error
    return Where(_KEYSET, (int(start_ms), str(trace_id), str(identity), int(arrival)))
