"""Server-sent events, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.load.sse import Event, events


def arriving(*chunks: bytes) -> Callable[[], bytes]:
    """Give one chunk after the other, then the end."""
    left = iter(chunks)
    return lambda: next(left, b"")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"", [], id="an empty stream"),
        pytest.param(
            b"data: hello\n\n", [Event("message", "hello")], id="an event without a name"
        ),
        pytest.param(
            b"event: token\ndata: a\n\nevent: done\ndata: {}\n\n",
            [Event("token", "a"), Event("done", "{}")],
            id="two events",
        ),
        pytest.param(
            b"data: one\ndata: two\n\n", [Event("message", "one\ntwo")], id="data of two lines"
        ),
        pytest.param(
            b"event: token\r\ndata: a\r\n\r\n", [Event("token", "a")], id="lines ending in CR LF"
        ),
        pytest.param(
            b": ping\n\ndata: a\n: more\n\n",
            [Event("message", "a")],
            id="comments are passed over",
        ),
        pytest.param(
            b"id: 7\nretry: 10\ndata: a\n\n", [Event("message", "a")], id="other fields too"
        ),
        pytest.param(b"data:a\n\n", [Event("message", "a")], id="no blank after the colon"),
        pytest.param(b"data:  a\n\n", [Event("message", " a")], id="only one blank is taken off"),
        pytest.param(b"data: a:b: c\n\n", [Event("message", "a:b: c")], id="colons in the data"),
        pytest.param(b"data\n\n", [Event("message", "")], id="a field without a colon is empty"),
        pytest.param(
            b"event: token\n\ndata: a\n\n",
            [Event("message", "a")],
            id="a name without data is forgotten",
        ),
        pytest.param(
            b"data: a\n\ndata: b\n", [Event("message", "a")], id="an event cut short is dropped"
        ),
        pytest.param("data: grüße\n\n".encode(), [Event("message", "grüße")], id="UTF-8"),
        pytest.param(b"event: token\rdata: a\r\r", [Event("token", "a")], id="lines ending in CR"),
        pytest.param(
            b"data: a\r\n\rdata: b\n\r\n",
            [Event("message", "a"), Event("message", "b")],
            id="all three ends of a line",
        ),
        pytest.param(
            b"\xef\xbb\xbfdata: a\n\n", [Event("message", "a")], id="a byte order mark at first"
        ),
        pytest.param(
            b"data: a\n\n\xef\xbb\xbfdata: b\n\n",
            [Event("message", "a")],
            id="a byte order mark later is part of a name",
        ),
        pytest.param(b"event:\ndata: a\n\n", [Event("message", "a")], id="an empty name is none"),
        pytest.param(b"\n\n\n", [], id="nothing but blank lines"),
        pytest.param(b"data: \xff\xfe\n\n", [Event("message", "\ufffd\ufffd")], id="not UTF-8"),
        pytest.param(
            "data: a\u2028b\x0bc\x85d\n\n".encode(),
            [Event("message", "a\u2028b\x0bc\x85d")],
            id="other line breaks are text",
        ),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, expected: list[Event]) -> None:
    assert list(events(arriving(stream))) == expected
    byte_by_byte = [stream[i : i + 1] for i in range(len(stream))]
    assert list(events(arriving(*byte_by_byte))) == expected


LINES = st.sampled_from(["data: a", "data:", "event: token", ": ping", "id: 1", "data: ü€", ""])
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@settings(deadline=None)
@given(st.lists(st.tuples(LINES, ENDS)), st.lists(st.integers(0, 60)))
def test_how_a_stream_is_cut_into_chunks_makes_no_difference(
    lines: list[tuple[str, str]], cuts: list[int]
) -> None:
    stream = "".join(line + end for line, end in lines).encode()
    bounds = [0, *sorted({c for c in cuts if 0 < c < len(stream)}), len(stream)]
    chunks = [stream[a:b] for a, b in pairwise(bounds) if a < b]
    assert list(events(arriving(*chunks))) == list(events(arriving(stream)))


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["LF", "CR", "CR LF"])
def test_an_event_is_given_as_soon_as_it_is_whole(end: bytes) -> None:
    chunks = iter([b"data: a" + end, end])

    def read() -> bytes:
        return next(chunks)  # asked for more than there is, it raises

    assert next(events(read)) == Event("message", "a")


def test_some_events_only_keep_the_connection_open() -> None:
    assert Event("ping", "").heartbeat
    assert not Event("message", "ping").heartbeat
