"""Asking for metrics: measures, groups, steps of time, order, and what is refused."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from harness.stack.langfuse.aggregation import AGGREGATIONS, histogram
from harness.stack.langfuse.filters import QueryError
from harness.stack.langfuse.measures import MEASURES
from harness.stack.langfuse.metrics import answer
from harness.stack.langfuse.otlp import decode
from harness.stack.langfuse.pricing import charge
from harness.stack.langfuse.rows import row_of
from harness.stack.langfuse.store import Store

HOUR = {"fromTimestamp": "1970-01-01T00:00:00Z", "toTimestamp": "1970-01-01T01:00:00Z"}
COUNT = {"measure": "count", "aggregation": "count"}


def row(name, start_ms, end_ms, **attributes):
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(
        trace_id=bytes(15) + b"\x01",
        span_id=bytes(7) + b"\x01",
        name=name,
        start_time_unix_nano=start_ms * 1_000_000,
        end_time_unix_nano=end_ms * 1_000_000,
        attributes=[
            KeyValue(key=f"langfuse.observation.{key}", value=AnyValue(string_value=value))
            for key, value in attributes.items()
        ],
    )
    (one,) = decode(request.SerializeToString())
    return row_of(one, charge(None, one.usage, one.cost), "now")


@pytest.fixture(scope="module")
def store():
    store = Store(":memory:", clock=lambda: 0.0)
    store.add(
        [
            row("slow", 10_000, 13_500, cost_details='{"total": 0.1}'),
            row("slow", 70_000, 71_000, cost_details='{"total": 0.2}'),
            row("fast", 75_000, 75_100, cost_details='{"total": 0.4}'),
            row("late", 3_600_000, 3_600_000),
            row("tomorrow", 86_400_000, 86_400_000),
        ]
    )
    yield store
    store.close()


def ask(store, *metrics, **query):
    asked = {"view": "observations", "metrics": metrics or [COUNT], **HOUR, **query}
    return answer(store, json.dumps(asked))["data"]


def test_without_dimensions_all_is_one_row_and_the_window_includes_its_end(store):
    assert ask(store) == [{"count_count": 4}]


def test_sums_have_no_more_decimals_than_costs(store):
    # 0.1 + 0.2 + 0.4 is 0.7000000000000001 in binary floating point.
    assert ask(store, {"measure": "totalCost", "aggregation": "sum"}) == [{"sum_totalCost": 0.7}]


def test_no_observation_counts_0_and_sums_to_nothing(store):
    window = {"fromTimestamp": "1971-01-01T00:00:00Z", "toTimestamp": "1971-01-02T00:00:00Z"}

    answered = ask(store, COUNT, {"measure": "totalCost", "aggregation": "sum"}, **window)

    assert answered == [{"count_count": 0, "sum_totalCost": None}]


def test_groups_come_by_the_first_metric_and_the_next_decides_ties(store):
    answered = ask(
        store,
        COUNT,
        {"measure": "latency", "aggregation": "max"},
        dimensions=[{"field": "name"}],
    )

    assert answered == [
        {"name": "slow", "count_count": 2, "max_latency": 3500},
        {"name": "fast", "count_count": 1, "max_latency": 100},
        {"name": "late", "count_count": 1, "max_latency": 0},
    ]


def test_an_order_and_a_limit_can_be_asked_for(store):
    answered = ask(
        store,
        dimensions=[{"field": "name"}],
        orderBy=[
            {"field": "count_count", "direction": "asc"},
            {"field": "name", "direction": "desc"},
        ],
        config={"row_limit": 2},
    )

    assert [group["name"] for group in answered] == ["late", "fast"]


def test_text_never_sent_is_null_as_a_dimension(store):
    assert ask(store, dimensions=[{"field": "providedModelName"}]) == [
        {"providedModelName": None, "count_count": 4}
    ]


def test_filters_narrow_what_is_measured(store):
    asked = {"type": "string", "column": "name", "operator": "=", "value": "slow"}

    assert ask(store, filters=[asked]) == [{"count_count": 2}]


def test_steps_without_observations_are_there(store):
    answered = ask(
        store,
        timeDimension={"granularity": "minute"},
        toTimestamp="1970-01-01T00:03:30Z",
    )

    assert answered == [
        {"time_dimension": "1970-01-01T00:00:00Z", "count_count": 1},
        {"time_dimension": "1970-01-01T00:01:00Z", "count_count": 2},
        {"time_dimension": "1970-01-01T00:02:00Z", "count_count": 0},
    ]


@pytest.mark.parametrize(
    ("granularity", "counts"),
    [
        pytest.param("hour", {"1970-01-01T00:00:00Z": 3, "1970-01-01T01:00:00Z": 1}, id="hours"),
        pytest.param("day", {"1970-01-01T00:00:00Z": 4}, id="days"),
    ],
)
def test_longer_steps(store, granularity, counts):
    answered = ask(store, timeDimension={"granularity": granularity})

    assert {step["time_dimension"]: step["count_count"] for step in answered} == counts


def test_a_crowded_dimension_is_answered_when_what_to_keep_is_said(store):
    answered = ask(
        store,
        dimensions=[{"field": "traceId"}],
        orderBy=[{"field": "count_count", "direction": "desc"}],
        config={"row_limit": 10},
    )

    assert answered == [{"traceId": "0" * 31 + "1", "count_count": 4}]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param({"view": "traces"}, "view: ", id="another view"),
        pytest.param({"metrics": []}, "metrics: ", id="no metric"),
        pytest.param(
            {"metrics": [{"measure": "joy", "aggregation": "sum"}]},
            "measure 'joy' is not served",
            id="unknown measure",
        ),
        pytest.param(
            {"metrics": [{"measure": "count", "aggregation": "mode"}]},
            "aggregation 'mode' is not served",
            id="unknown aggregation",
        ),
        pytest.param(
            {"dimensions": [{"field": "colour"}]}, "'colour' is not served", id="unknown dimension"
        ),
        pytest.param(
            {"dimensions": [{"field": "sessionId"}]},
            "'sessionId' needs config.row_limit and orderBy desc",
            id="a crowded dimension",
        ),
        pytest.param(
            {"dimensions": [{"field": "name"}], "timeDimension": {"granularity": "day"}},
            "dimensions together with a timeDimension",
            id="groups by time",
        ),
        pytest.param(
            {"timeDimension": {"granularity": "auto"}},
            "timeDimension.granularity",
            id="auto steps",
        ),
        pytest.param(
            {"toTimestamp": HOUR["fromTimestamp"]}, "must be after", id="an empty window"
        ),
        pytest.param(
            {"orderBy": [{"field": "name", "direction": "asc"}]},
            "neither a metric nor a dimension",
            id="an order by what was not asked",
        ),
        pytest.param({"config": {"row_limit": 1001}}, "config.row_limit", id="too many rows"),
        pytest.param({"filters": [{"type": "magic"}]}, "filter type 'magic'", id="a bad filter"),
        pytest.param({"sample": 1}, "sample: ", id="an unknown key"),
    ],
)
def test_a_query_is_refused(store, query, message):
    with pytest.raises(QueryError, match=message):
        ask(store, **query)


def test_a_query_that_is_no_json_is_refused(store):
    with pytest.raises(QueryError, match="query: Invalid JSON"):
        answer(store, "")


STREAMED = row(
    "llm",
    900,
    3_100,
    completion_start_time="1970-01-01T00:00:01.100Z",
    usage_details='{"input": 10, "input_cached_tokens": 2, "output": 8}',
    cost_details='{"input": 0.1, "input_cached_tokens": 0.2, "output": 0.4, "total": 0.7}',
)
QUIET = row("tool", 100, 900)


@pytest.mark.parametrize(
    ("measure", "streamed", "quiet"),
    [
        pytest.param("count", 1, 1, id="count"),
        pytest.param("latency", 2200, 800, id="latency: 3100 - 900 ms"),
        pytest.param("timeToFirstToken", 200, None, id="first token: 1100 - 900 ms"),
        pytest.param("streamingLatency", 2000, None, id="streaming: 3100 - 1100 ms"),
        pytest.param("inputTokens", 12, 0, id="input: 10 + 2 cached"),
        pytest.param("outputTokens", 8, 0, id="output"),
        pytest.param("totalTokens", 20, 0, id="total: 10 + 2 + 8"),
        pytest.param("inputCost", 0.1 + 0.2, 0, id="input cost: 0.1 + 0.2 cached"),
        pytest.param("outputCost", 0.4, 0, id="output cost"),
        pytest.param("totalCost", 0.7, 0, id="total cost"),
        pytest.param("tokensPerSecond", 20 / 3, None, id="20 tokens from second 0 to second 3"),
        pytest.param("outputTokensPerSecond", 4, None, id="8 tokens from second 1 to second 3"),
    ],
)
def test_a_measure(measure, streamed, quiet):
    assert [MEASURES[measure](one) for one in (STREAMED, QUIET)] == [streamed, quiet]


@pytest.mark.parametrize(
    ("aggregation", "value", "of_nothing"),
    [
        pytest.param("sum", 15, None, id="sum"),
        pytest.param("avg", 3.75, None, id="mean: 15 / 4"),
        pytest.param("count", 4, 0, id="count"),
        pytest.param("max", 8, None, id="greatest"),
        pytest.param("min", 1, None, id="least"),
        pytest.param("p50", 3, None, id="position 1.5: between 2 and 4"),
        pytest.param("p75", 5, None, id="position 2.25: 4 + 0.25 x 4"),
        pytest.param("p90", 6.8, None, id="position 2.7: 4 + 0.7 x 4"),
        pytest.param("p95", 7.4, None, id="position 2.85: 4 + 0.85 x 4"),
        pytest.param("p99", 7.88, None, id="position 2.97: 4 + 0.97 x 4"),
    ],
)
def test_an_aggregation(aggregation, value, of_nothing):
    aggregate = AGGREGATIONS[aggregation]

    assert aggregate([8, 1, 4, 2]) == pytest.approx(value, rel=1e-12)
    assert aggregate([]) == of_nothing


@pytest.mark.parametrize(
    ("values", "bins", "expected"),
    [
        pytest.param([], 3, [], id="nothing"),
        pytest.param([5, 5], 3, [(5, 5, 2)], id="one point: (2 + 12 + 2) / 8"),
        pytest.param(
            [0] * 8 + [10],
            2,
            # (8 + 6 x 8 + 1) / 8 and (8 + 6 x 1 + 1) / 8
            [(0, 5, 7.125), (5, 10, 1.875)],
            id="two points, smoothed",
        ),
        pytest.param(
            [0, 0, 0, 4, 20],
            2,
            # 0 (three times) and 4 become 1 with weight 4; then (24 + 4 + 1) / 8, (4 + 6 + 1) / 8
            [(0, 10.5, 3.625), (10.5, 20, 1.375)],
            id="the nearest two points become one",
        ),
    ],
)
def test_histogram(values, bins, expected):
    assert histogram(values, bins) == expected
