"""The trace of a request: whose id it has, and where in the app it is found."""

from __future__ import annotations

import asyncio
import re

import pytest

from target_app.observability.request_trace import (
    CURRENT,
    RequestTrace,
    current,
    current_exemplar,
    new_trace,
)
from target_app.observability.trace_context import TraceContext

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
BAGGAGE = (b"baggage", b"run=r1,scenario=warm")


def test_a_callers_trace_goes_on() -> None:
    trace = RequestTrace({"method": "POST", "headers": [(b"host", b"h"), TRACEPARENT, BAGGAGE]})

    assert trace.trace_id == TRACE
    assert trace.context == TraceContext(TRACE, PARENT, ("run:r1", "scenario:warm"))
    assert (trace.method, trace.recorded, trace.span) == ("POST", False, None)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="no headers"),
        pytest.param([(b"traceparent", b"\xff\xfe nonsense")], id="nonsense"),
    ],
)
def test_without_one_a_trace_begins_and_keeps_its_id(headers: list[tuple[bytes, bytes]]) -> None:
    scope = {"method": "GET", "headers": headers}
    trace, other = RequestTrace(scope), RequestTrace(scope)

    assert re.fullmatch("[0-9a-f]{32}", trace.trace_id)
    assert trace.trace_id == trace.trace_id != other.trace_id
    assert trace.context == TraceContext()


def test_where_there_is_no_request_a_trace_can_begin_too() -> None:
    given = new_trace(TraceContext(TRACE, PARENT))

    assert (given.trace_id, given.route, given.method) == (TRACE, "unmatched", "other")
    assert len(new_trace().trace_id) == 32


def test_the_route_is_a_template_and_known_once_it_was_found() -> None:
    class Route:
        path = "/things/{id}"

    scope: dict[str, object] = {"method": "GET", "path": "/things/7"}
    trace = RequestTrace(scope)
    before = trace.route
    scope["route"] = Route()

    assert (before, trace.route) == ("unmatched", "/things/{id}")


def test_a_made_up_method_is_told_to_nobody() -> None:
    assert RequestTrace({"method": "BREW"}).method == "other"


@pytest.mark.anyio
async def test_it_is_found_in_tasks_and_threads_that_serve_the_request() -> None:
    trace = new_trace()
    token = CURRENT.set(trace)
    try:
        found = [
            current(),
            await asyncio.create_task(_current()),
            await asyncio.to_thread(current),
        ]
    finally:
        CURRENT.reset(token)

    assert found == [trace, trace, trace]
    assert current() is None


async def _current() -> RequestTrace | None:
    return current()


def test_only_a_trace_that_somebody_can_look_up_is_an_exemplar() -> None:
    trace = new_trace()
    assert current_exemplar() is None
    token = CURRENT.set(trace)
    try:
        before = current_exemplar()
        trace.recorded = True
        after = current_exemplar()
    finally:
        CURRENT.reset(token)

    assert (before, after) == (None, trace.trace_id)
