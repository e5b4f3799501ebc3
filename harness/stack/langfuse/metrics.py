"""
The question and answer of ``GET /api/public/v2/metrics``: measures of observations, aggregated.

Served: the view ``observations``, grouped by dimensions or by equal steps of time, not by both.
Latencies are in milliseconds here, as the API has them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from harness.stack.langfuse.aggregation import AGGREGATIONS, HISTOGRAM, histogram
from harness.stack.langfuse.filters import QueryError, condition, milliseconds, start_between
from harness.stack.langfuse.measures import MEASURES
from harness.stack.langfuse.rows import Row, instant
from harness.stack.langfuse.store import Store

DIMENSIONS: Mapping[str, str] = {
    "environment": "environment",
    "type": "type",
    "name": "name",
    "level": "level",
    "version": "version",
    "release": "release",
    "traceName": "traceName",
    "traceRelease": "release",
    "traceVersion": "version",
    "providedModelName": "model",
    "promptName": "promptName",
    "promptVersion": "promptVersion",
    "isRootObservation": "isRootObservation",
    "traceId": "traceId",
    "sessionId": "sessionId",
    "userId": "userId",
}
"""What can be grouped by, and the field of a row that says it."""

HIGH_CARDINALITY = frozenset({"traceId", "sessionId", "userId"})
"""Dimensions served only with a row limit and an order that says which rows to keep."""

_STEPS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}


class _Asked(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Metric(_Asked):
    """A measure and how to aggregate it; the answer calls it ``sum_totalCost`` and the like."""

    measure: str
    aggregation: str

    @property
    def name(self) -> str:
        """The key of this metric in an answer."""
        return f"{self.aggregation}_{self.measure}"

    @model_validator(mode="after")
    def _is_served(self) -> Self:
        if self.measure not in MEASURES:
            msg = f"measure {self.measure!r} is not served; use one of {', '.join(MEASURES)}"
            raise ValueError(msg)
        served = (*AGGREGATIONS, HISTOGRAM)
        if self.aggregation not in served:
            msg = f"aggregation {self.aggregation!r} is not served; use one of {', '.join(served)}"
            raise ValueError(msg)
        return self


class Dimension(_Asked):
    """A field to group by."""

    field: str

    @model_validator(mode="after")
    def _is_served(self) -> Self:
        if self.field not in DIMENSIONS:
            msg = f"dimension {self.field!r} is not served; use one of {', '.join(DIMENSIONS)}"
            raise ValueError(msg)
        return self


class TimeDimension(_Asked):
    """The step of time to group by."""

    granularity: Literal["minute", "hour", "day"]


class Order(_Asked):
    """A metric or dimension to order by."""

    field: str
    direction: Literal["asc", "desc"]


class Options(BaseModel):
    """How many rows to answer, and how many bins a histogram has at most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bins: Annotated[int, Field(ge=1, le=100)] = 10
    row_limit: Annotated[int | None, Field(ge=1, le=1000)] = None


class Question(_Asked):
    """The query parameter of the route, parsed; refuses what is not served."""

    view: Literal["observations"]
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1)]
    dimensions: tuple[Dimension, ...] = ()
    filters: tuple[dict[str, Any], ...] = ()
    time_dimension: TimeDimension | None = None
    from_timestamp: AwareDatetime
    to_timestamp: AwareDatetime
    order_by: tuple[Order, ...] | None = None
    config: Options = Options()

    @model_validator(mode="after")
    def _can_be_answered(self) -> Self:
        if self.from_timestamp >= self.to_timestamp:
            msg = "toTimestamp must be after fromTimestamp"
            raise ValueError(msg)
        if self.dimensions and self.time_dimension:
            msg = "dimensions together with a timeDimension are not served"
            raise ValueError(msg)
        metrics = {metric.name for metric in self.metrics}
        fields = {dimension.field for dimension in self.dimensions}
        unknown = [one.field for one in self.order_by or () if one.field not in metrics | fields]
        if unknown:
            msg = f"orderBy names {unknown[0]!r}, which is neither a metric nor a dimension asked"
            raise ValueError(msg)
        crowded = sorted(fields & HIGH_CARDINALITY)
        by_measure = any(
            one.field in metrics and one.direction == "desc" for one in self.order_by or ()
        )
        if crowded and not (by_measure and self.config.row_limit):
            msg = f"dimension {crowded[0]!r} needs config.row_limit and orderBy desc on a metric"
            raise ValueError(msg)
        return self


def answer(store: Store, query: str) -> dict[str, object]:
    """
    Answer one query, given as JSON text.

    Raises QueryError for a query that cannot be understood or is not served.
    """
    asked = _parse(query)
    conditions = [
        start_between(asked.from_timestamp, asked.to_timestamp, end_included=True),
        *(condition(one) for one in asked.filters),
    ]
    rows = [found.row for found in store.read(conditions)]
    if asked.time_dimension:
        return {"data": _over_time(asked, asked.time_dimension, rows)}
    return {"data": _grouped(asked, rows)}


def _parse(query: str) -> Question:
    try:
        return Question.model_validate_json(query)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "query"
        msg = f"{where}: {first['msg']}"
        raise QueryError(msg) from error


def _grouped(asked: Question, rows: Sequence[Row]) -> list[dict[str, object]]:
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    if not asked.dimensions:
        groups[()] = []
    for row in rows:
        key = tuple(
            None if (value := row.fields[DIMENSIONS[dimension.field]]) == "" else value
            for dimension in asked.dimensions
        )
        groups[key].append(row)
    answered = [
        {
            **{
                dimension.field: value
                for dimension, value in zip(asked.dimensions, key, strict=True)
            },
            **_aggregated(asked, members),
        }
        for key, members in groups.items()
    ]
    # The server orders by the first metric unless told otherwise; what ties there, ties on.
    order = asked.order_by or tuple(
        Order(field=metric.name, direction="desc")
        for metric in asked.metrics
        if metric.aggregation != HISTOGRAM
    )
    for one in reversed(order):
        answered.sort(key=lambda row: _sortable(row[one.field]), reverse=one.direction == "desc")
    return answered[: asked.config.row_limit or 100]


def _over_time(
    asked: Question, over: TimeDimension, rows: Iterable[Row]
) -> list[dict[str, object]]:
    """Aggregate each step of time in the window, those without observations included."""
    step_ms = _STEPS[over.granularity] // timedelta(milliseconds=1)
    first, last = (
        _floor(milliseconds(edge), step_ms) for edge in (asked.from_timestamp, asked.to_timestamp)
    )
    steps: dict[int, list[Row]] = {start: [] for start in range(first, last, step_ms)}
    for row in rows:
        steps.setdefault(_floor(row.start_ms, step_ms), []).append(row)
    return [
        {"time_dimension": instant(start).replace(".000Z", "Z"), **_aggregated(asked, members)}
        for start, members in sorted(steps.items())
    ]


def _floor(time_ms: float, step_ms: int) -> int:
    return int(time_ms // step_ms) * step_ms


def _aggregated(asked: Question, rows: Sequence[Row]) -> dict[str, object]:
    answered: dict[str, object] = {}
    for metric in asked.metrics:
        measured = [value for row in rows if (value := MEASURES[metric.measure](row)) is not None]
        if metric.aggregation == HISTOGRAM:
            answered[metric.name] = histogram(measured, asked.config.bins)
        else:
            answered[metric.name] = AGGREGATIONS[metric.aggregation](measured)
    return answered


def _sortable(value: object) -> tuple[bool, Any]:
    return (value is not None, value if isinstance(value, int | float) else str(value))
