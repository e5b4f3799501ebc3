"""The caller's trace is taken from its headers; malformed ones begin a new trace."""

from __future__ import annotations

import pytest

from target_app.observability.trace_context import TraceContext, read_trace_context

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("headers", "context"),
    [
        pytest.param(
            {"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": "run=r1,scenario=warm_cache"},
            TraceContext(TRACE, PARENT, ("run:r1", "scenario:warm_cache")),
            id="both",
        ),
        pytest.param({}, TraceContext(), id="neither"),
        pytest.param(
            {"traceparent": f"00-{TRACE}-{PARENT}-00"},
            TraceContext(TRACE, PARENT, sampled=False),
            id="not sampled",
        ),
        pytest.param(
            {"traceparent": f"00-{TRACE}-{PARENT}-03"},
            TraceContext(TRACE, PARENT),
            id="other flags beside it",
        ),
        pytest.param(
            {"traceparent": f"01-{TRACE}-{PARENT}-01-more"},
            TraceContext(TRACE, PARENT),
            id="a later version says more",
        ),
        pytest.param(
            {"traceparent": f"00-{TRACE}-{PARENT}-01-more"},
            TraceContext(),
            id="version 0 does not",
        ),
        pytest.param({"traceparent": f"ff-{TRACE}-{PARENT}-01"}, TraceContext(), id="version ff"),
        pytest.param({"traceparent": f"00-{'0' * 32}-{PARENT}-01"}, TraceContext(), id="trace 0"),
        pytest.param({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, TraceContext(), id="parent 0"),
        pytest.param(
            {"traceparent": f"00-{TRACE.upper()}-{PARENT}-01"}, TraceContext(), id="capitals"
        ),
        pytest.param({"traceparent": "nonsense"}, TraceContext(), id="nonsense"),
        pytest.param(
            {"baggage": " scenario = warm%20cache%3F;secret=1 , user=u , run=%72"},
            TraceContext(tags=("run:r",)),
            id="a tag with a space is none, and unknown members are no tags",
        ),
        pytest.param({"baggage": f"run={'x' * 151}"}, TraceContext(), id="a tag too long"),
        pytest.param({"baggage": "run=,=,,run"}, TraceContext(), id="empty members"),
    ],
)
def test_headers(headers: dict[str, str], context: TraceContext) -> None:
    assert read_trace_context(headers) == context
