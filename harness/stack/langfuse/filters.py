"""The filter language of the v2 API (one JSON object per condition), turned into SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from harness.stack.langfuse.store import FILTERABLE, Where

_ALIASES: Mapping[str, str] = {
    "traceTags": "tags",
    "providedModelName": "model",
    "inputTokens": "inputUsage",
    "outputTokens": "outputUsage",
    "totalTokens": "totalUsage",
    "tokens": "totalUsage",
}
_COMPARISONS = ("=", ">", "<", ">=", "<=")
T = TypeVar("T")
_EPOCH = datetime.fromtimestamp(0, UTC)
_MILLISECOND = timedelta(milliseconds=1)

_TEXT_TESTS: Mapping[str, str] = {
    "=": "{0} = ?",
    "contains": "instr({0}, ?) > 0",
    "does not contain": "instr({0}, ?) = 0",
    "starts with": "instr({0}, ?) = 1",
    "ends with": "substr({0}, -length(?)) = ?",
}


class QueryError(ValueError):
    """A question that the stand-in refuses; the message says what was wrong with it."""


def condition(asked: object) -> Where:
    """
    Turn one condition of a ``filter`` or ``filters`` list into SQL.

    Raises QueryError for a column, type, operator or value that is not served.
    """
    if not isinstance(asked, Mapping):
        msg = f"a filter condition is an object, not {asked!r}"
        raise QueryError(msg)
    kind = asked.get("type")
    build = _KINDS.get(kind) if isinstance(kind, str) else None
    if build is None:
        msg = f"filter type {kind!r} is not served; use one of {', '.join(_KINDS)}"
        raise QueryError(msg)
    return build(_column(asked.get("column")), asked)


def start_between(start: datetime | None, end: datetime | None, *, end_included: bool) -> Where:
    """Keep rows that start at or after ``start`` and before (or at) ``end``, where given."""
    tests, values = ["1"], []
    if start is not None:
        tests.append('"startTime" >= ?')
        values.append(milliseconds(start))
    if end is not None:
        tests.append(f'"startTime" {"<=" if end_included else "<"} ?')
        values.append(milliseconds(end))
    return Where(" AND ".join(tests), tuple(values))


def is_one_of(column: str, options: list[str]) -> Where:
    """Keep rows whose text in this column is one of these; absent text counts as empty."""
    return Where(f"{_text(column)} IN ({', '.join('?' * len(options))})", tuple(options))


def parse_instant(text: object) -> datetime:
    """Read an ISO 8601 instant, UTC unless it says otherwise; raises QueryError if it is none."""
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError as error:
        msg = f"not an ISO 8601 instant: {text!r}"
        raise QueryError(msg) from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def milliseconds(time: datetime) -> float:
    """Count the milliseconds since the epoch."""
    return (time - _EPOCH) / _MILLISECOND


def _column(name: object) -> str:
    known = _ALIASES.get(name, name) if isinstance(name, str) else None
    if known not in {*FILTERABLE, "startTime", "endTime"}:
        msg = f"filter column {name!r} is not served"
        raise QueryError(msg)
    return str(known)


def _text(column: str) -> str:
    return f"coalesce(\"{column}\", '')"


def _operator(asked: Mapping[str, Any], served: tuple[str, ...]) -> str:
    operator = asked.get("operator")
    if operator not in served:
        msg = (
            f"operator {operator!r} is not served for filter type {asked['type']!r};"
            f" use one of {', '.join(served)}"
        )
        raise QueryError(msg)
    return str(operator)


def _value(asked: Mapping[str, Any], kind: type[T]) -> T:
    value = asked.get("value")
    if not isinstance(value, kind):
        msg = f"value {value!r} does not suit filter type {asked['type']!r}"
        raise QueryError(msg)
    return value


def _options(asked: Mapping[str, Any]) -> list[str]:
    options: list[Any] = _value(asked, list)
    if not options or not all(isinstance(option, str) for option in options):
        msg = f"value {options!r} is not a list of at least one text"
        raise QueryError(msg)
    return options


def _text_test(expression: str, asked: Mapping[str, Any]) -> Where:
    test = _TEXT_TESTS[_operator(asked, tuple(_TEXT_TESTS))]
    return Where(test.format(expression), (_value(asked, str),) * test.count("?"))


def _string(column: str, asked: Mapping[str, Any]) -> Where:
    return _text_test(_text(column), asked)


def _string_options(column: str, asked: Mapping[str, Any]) -> Where:
    operator = _operator(asked, ("any of", "none of"))
    found = is_one_of(column, _options(asked))
    return found if operator == "any of" else Where(f"NOT ({found.sql})", found.values)


def _array_options(column: str, asked: Mapping[str, Any]) -> Where:
    if column != "tags":
        msg = f"filter type 'arrayOptions' is served for the column tags, not {column}"
        raise QueryError(msg)
    operator = _operator(asked, ("any of", "none of", "all of"))
    options = list(dict.fromkeys(_options(asked)))
    marks = ", ".join("?" * len(options))
    test = {"any of": "> 0", "none of": "= 0", "all of": f"= {len(options)}"}[operator]
    # S608: nothing but placeholders and operators of ours goes into the SQL.
    count = f"SELECT count(DISTINCT value) FROM json_each(tags) WHERE value IN ({marks})"  # noqa: S608
    return Where(f"({count}) {test}", tuple(options))


def _number(column: str, asked: Mapping[str, Any]) -> Where:
    operator = _operator(asked, _COMPARISONS)
    value = _value(asked, object)
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"value {value!r} is not a number"
        raise QueryError(msg)
    return Where(f'"{column}" {operator} ?', (value,))


def _datetime(column: str, asked: Mapping[str, Any]) -> Where:
    if column not in {"startTime", "endTime"}:
        msg = f"column {column} holds no instant"
        raise QueryError(msg)
    operator = _operator(asked, _COMPARISONS[1:])
    return Where(f'"{column}" {operator} ?', (milliseconds(parse_instant(asked.get("value"))),))


def _boolean(column: str, asked: Mapping[str, Any]) -> Where:
    operator = _operator(asked, ("=", "<>"))
    return Where(f'"{column}" {operator} ?', (_value(asked, bool),))


def _null(column: str, asked: Mapping[str, Any]) -> Where:
    # Text that was never sent is stored empty, and counts as null like any other absence.
    operator = _operator(asked, ("is null", "is not null"))
    return Where(f"{_text(column)} {'=' if operator == 'is null' else '<>'} ''")


def _string_object(column: str, asked: Mapping[str, Any]) -> Where:
    key = asked.get("key")
    if column != "metadata" or not isinstance(key, str):
        msg = "filter type 'stringObject' is served for the column metadata, with a key"
        raise QueryError(msg)
    test = _text_test("CAST(value AS TEXT)", asked)
    # S608: the test is one of ours, and its value a placeholder.
    found = f"SELECT 1 FROM json_each(metadata) WHERE {test.sql} AND key = ?"  # noqa: S608
    return Where(f"EXISTS ({found})", (*test.values, key))


_KINDS: Mapping[str, Callable[[str, Mapping[str, Any]], Where]] = {
    "string": _string,
    "stringOptions": _string_options,
    "arrayOptions": _array_options,
    "number": _number,
    "datetime": _datetime,
    "boolean": _boolean,
    "null": _null,
    "stringObject": _string_object,
}
