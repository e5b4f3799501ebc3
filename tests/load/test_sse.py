"""Server-sent events, byte for byte."""

from __future__ import annotations

import io

import pytest

from harness.load.sse import Event, events


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
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream: bytes, expected: list[Event]) -> None:
    assert list(events(io.BytesIO(stream).readline)) == expected


def test_an_event_is_given_as_soon_as_it_is_whole() -> None:
    lines = iter([b"data: a\n", b"\n"])

    def readline() -> bytes:
        return next(lines)  # asked for a line more than there is, it raises

    assert next(events(readline)) == Event("message", "a")
