"""Observations arrive late and in parts: they are awaited with patience, and not for ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import respx

from harness.evidence.collect import Langfuse, LangfuseError, Patience, collect
from harness.model import Outcome, Sample
from harness.runs import Collection, RunDirectory

URL = "http://langfuse"
KEYS = {
    "LANGFUSE_PUBLIC_KEY": "pk-known",
    "LANGFUSE_SECRET_KEY": "sk-s3cret",
    "LANGFUSE_HOST": URL,
}
Row = dict[str, Any]


@dataclass
class Time:
    """A clock that moves only when somebody waits."""

    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.seconds += seconds

    def patience(self) -> Patience:
        return Patience(lambda: self.seconds, self.wait)


@dataclass
class Server:
    """Answers each poll with the next rows, and the last ones for ever."""

    polls: list[list[Row] | int]
    requests: list[httpx.Request] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        rows = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        if isinstance(rows, int):
            return httpx.Response(rows, json={"message": "sk-s3cret is not allowed"})
        return httpx.Response(200, json={"data": rows, "meta": {}})


def row(trace: int, name: str = "root", **changes: Any) -> Row:
    return {
        "id": name,
        "traceId": str(trace),
        "projectId": "p",
        "startTime": "2026-09-21T14:13:20.123Z",
        "endTime": "2026-09-21T14:13:21.000Z",
        "createdAt": "2026-09-21T14:13:20.123Z",
        "updatedAt": "2026-09-21T14:13:20.123Z",
        "parentObservationId": None,
        "type": "AGENT",
        "name": "chat",
        "level": "DEFAULT",
        "environment": "default",
        "bookmarked": False,
        "public": False,
        "latency": 0.877,
        "usageDetails": {"input": 5},
        "tags": ["run:20260921-100000-cafe", "scenario:warm_cache"],
        "isRootObservation": name == "root",
        "input": "what nobody may keep",
        **changes,
    }


@pytest.fixture
def run(known_run: Callable[..., RunDirectory], known: Callable[..., Any]) -> RunDirectory:
    """Two answered chats, one that timed out, and a document that leaves no trace."""
    outcomes = (Outcome.OK, Outcome.HTTP_ERROR, Outcome.TIMEOUT)
    samples = [Sample("warm_cache", "chat", "t", 1.0, 1.0, 2.0, o) for o in outcomes]
    samples.append(Sample("warm_cache", "read", "d", 1.0, 1.0, 2.0, Outcome.OK, traced=False))
    return known_run(known(samples=samples, server_seconds=[1.0] * 4))


@pytest.fixture
def serve(respx_mock: respx.MockRouter) -> Iterator[Callable[..., Server]]:
    def of(*polls: list[Row] | int) -> Server:
        server = Server(list(polls))
        route = respx_mock.get(f"{URL}/api/public/v2/observations")
        route.mock(side_effect=server.answer)
        return server

    return of


Serve = Callable[..., Server]


def collected(run: RunDirectory, time: Time) -> tuple[list[Row], Collection]:
    collect(run, KEYS, time.patience())
    rows, collection = run.read_observations("warm_cache")
    assert collection is not None
    return rows, collection


def test_all_there_from_the_start_is_asked_twice_to_be_sure(run: RunDirectory, serve: Serve):
    server, time = serve([row(1), row(2), row(2, "llm", type="GENERATION")]), Time()

    rows, collection = collected(run, time)

    assert [(r["traceId"], r["id"], r["type"]) for r in rows] == [
        ("1", "root", "AGENT"), ("2", "root", "AGENT"), ("2", "llm", "GENERATION"),
    ]  # fmt: skip
    assert collection == Collection(complete=True, polls=2, seconds=1.0)
    assert len(server.requests) == 2


def test_the_question_names_the_run_and_what_is_wanted(run: RunDirectory, serve: Serve):
    server = serve([row(1), row(2)])

    collected(run, Time())

    asked = server.requests[0].url.params
    assert json.loads(asked["filter"]) == [
        {"type": "arrayOptions", "column": "tags", "operator": "any of",
         "value": ["run:20260921-100000-cafe"]}
    ]  # fmt: skip
    assert asked["fields"] == "core,basic,time,model,usage,metrics,trace_context"
    assert asked["limit"] == "1000"
    assert asked["fromStartTime"].startswith("2026-09-21T14:11:00")  # two minutes before
    assert server.requests[0].headers["authorization"].startswith("Basic ")


def test_inputs_are_never_kept(run: RunDirectory, serve: Serve):
    serve([row(1), row(2)])

    rows, _ = collected(run, Time())

    assert sorted(rows[0]) == [
        "id", "isRootObservation", "latency", "level", "model", "name", "parentObservationId",
        "sessionId", "startTime", "tags", "timeToFirstToken", "totalCost", "traceId", "type", "usageDetails",
    ]  # fmt: skip
    assert rows[0]["startTime"] == "2026-09-21T14:13:20.123000+00:00"
    assert "nobody may keep" not in json.dumps(rows)


def test_it_waits_until_all_are_there_and_no_more_come(run: RunDirectory, serve: Serve):
    late = [row(1), row(2), row(1, "llm")]
    serve([], [row(1)], [row(1), row(2)], late)
    time = Time()

    rows, collection = collected(run, time)

    assert len(rows) == 3
    assert collection == Collection(complete=True, polls=5, seconds=4.0)
    assert time.waits == [1.0] * 4


def test_it_gives_up_when_nothing_more_comes_for_ten_seconds(run: RunDirectory, serve: Serve):
    serve([], [row(1)])

    rows, collection = collected(run, Time())

    assert len(rows) == 1
    assert collection == Collection(complete=False, polls=13, seconds=12.0)


def test_it_gives_up_after_ninety_seconds_even_if_more_come(run: RunDirectory, serve: Serve):
    serve(*([row(1)] * (1 + n % 2) for n in range(200)))

    _, collection = collected(run, Time())

    assert (collection.complete, collection.seconds) == (False, 91.0)


def test_observations_shown_twice_are_kept_and_counted(run: RunDirectory, serve: Serve):
    serve([row(1), row(2), row(2)])

    rows, collection = collected(run, Time())

    assert (len(rows), collection.duplicates, collection.complete) == (3, 1, True)


def test_traces_of_other_scenarios_belong_to_other_windows(run: RunDirectory, serve: Serve):
    serve([row(1), row(2), row(3, tags=["run:20260921-100000-cafe"]), row(4, tags=None)])

    rows, collection = collected(run, Time())

    assert [r["traceId"] for r in rows] == ["1", "2"]
    assert collection.complete


def test_pages_are_followed_by_their_cursor(respx_mock: respx.MockRouter):
    seen: list[str | None] = []

    def page(request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        seen.append(cursor)
        number = int(cursor or 0)
        meta = {"cursor": str(number + 1)} if number < 2 else {"cursor": ""}
        return httpx.Response(200, json={"data": [row(number)], "meta": meta})

    respx_mock.get(f"{URL}/api/public/v2/observations").mock(side_effect=page)

    rows = Langfuse.connect(KEYS).observations("r", 0.0, 10.0)

    assert [r["traceId"] for r in rows] == ["0", "1", "2"]
    assert seen == [None, "1", "2"]


# -- what can go wrong ------------------------------------------------------------------


def test_a_failure_is_tried_again(run: RunDirectory, serve: Serve):
    serve(404, 404, [row(1), row(2)])

    rows, collection = collected(run, Time())

    assert (len(rows), collection.complete, collection.polls) == (2, True, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_server_that_refuses(run: RunDirectory, serve: Serve, status: int):
    serve(status)

    rows, collection = collected(run, Time())

    assert rows == []
    assert collection == Collection(
        complete=False, polls=0, seconds=2.0, problem=f"Langfuse at {URL} answered {status}"
    )


def test_a_server_that_is_not_there(run: RunDirectory, respx_mock: respx.MockRouter):
    respx_mock.get(f"{URL}/api/public/v2/observations").mock(
        side_effect=httpx.ConnectError("connection refused")
    )

    _, collection = collected(run, Time())

    assert collection.problem == f"Langfuse at {URL} cannot be reached: connection refused"


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param({"text": "<html>"}, "Langfuse at http://langfuse answered 200", id="HTML"),
        pytest.param({"json": {"rows": []}}, "http://langfuse does not answer as Langfuse does",
                     id="another API"),
    ],
)  # fmt: skip
def test_a_server_that_is_something_else(
    run: RunDirectory, respx_mock: respx.MockRouter, answer: dict[str, Any], problem: str
):
    respx_mock.get(f"{URL}/api/public/v2/observations").respond(200, **answer)

    _, collection = collected(run, Time())

    assert collection.problem == problem


@pytest.mark.parametrize("missing", ["LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"])
def test_without_a_key_nothing_is_asked(run: RunDirectory, missing: str):
    collect(run, {**KEYS, missing: ""}, Time().patience())

    rows, collection = run.read_observations("warm_cache")
    assert (rows, collection) == (
        [],
        Collection(
            complete=False,
            polls=0,
            seconds=0.0,
            problem="LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are not set",
        ),
    )


def test_no_key_is_ever_written_down(run: RunDirectory, serve: Serve):
    serve(401)

    collected(run, Time())

    for path in run.path.rglob("*"):
        if path.is_file():
            assert b"s3cret" not in path.read_bytes(), path
            assert b"pk-known" not in path.read_bytes(), path


def test_a_check_before_any_load(respx_mock: respx.MockRouter):
    respx_mock.get(f"{URL}/api/public/projects").respond(401, json={})

    with pytest.raises(LangfuseError) as caught:
        Langfuse.connect(KEYS).check()

    assert str(caught.value) == f"Langfuse at {URL} answered 401"


def test_a_check_that_succeeds(respx_mock: respx.MockRouter):
    route = respx_mock.get(f"{URL}/api/public/projects").respond(200, json={"data": []})

    Langfuse.connect(KEYS).check()

    assert route.called


# -- whether a cache answered -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "hit"),
    [
        pytest.param({"cache_hit": True, "text": "what nobody may keep"}, True, id="an object"),
        pytest.param('{"cache_hit": false}', False, id="an object as text"),
        pytest.param('{"text": "x"}', None, id="an output that does not say"),
        pytest.param("what nobody may keep", None, id="plain text"),
        pytest.param({"cache_hit": "yes"}, None, id="another sort of answer"),
        pytest.param(None, None, id="no output"),
    ],
)
def test_of_a_tools_output_only_the_cache_hit_is_kept(
    run: RunDirectory, serve: Serve, output: Any, hit: Any
):
    server = serve([row(1), row(2), row(1, "t", type="TOOL", output=output)])

    rows, _ = collected(run, Time())

    assert [r.get("cacheHit", "not asked") for r in rows] == ["not asked", "not asked", hit]
    assert "nobody may keep" not in json.dumps(rows)
    asked = server.requests[-1].url.params
    assert asked["fields"] == "core,io"
    assert json.loads(asked["filter"])[1] == {
        "type": "stringOptions", "column": "type", "operator": "any of", "value": ["TOOL"],
    }  # fmt: skip


def test_nothing_is_asked_of_outputs_without_tools(run: RunDirectory, serve: Serve):
    server = serve([row(1), row(2)])

    collected(run, Time())

    assert {r.url.params["fields"] for r in server.requests} == {
        "core,basic,time,model,usage,metrics,trace_context"
    }


def test_outputs_that_cannot_be_read_leave_the_evidence_whole(run: RunDirectory, serve: Serve):
    whole = [row(1), row(2), row(1, "t", type="TOOL")]
    serve(whole, whole, 500)

    rows, collection = collected(run, Time())

    assert (len(rows), collection.complete, collection.problem) == (3, True, "")
    assert all("cacheHit" not in r for r in rows)
