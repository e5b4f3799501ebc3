"""Messages to and from a worker, in whatever pieces they come."""

from __future__ import annotations

import socket
import struct

import pytest

from target_app.sandbox.frames import BrokenFrameError, FrameReader, frame, receive


@pytest.mark.parametrize("piece_bytes", [1, 3, 1000])
def test_a_frame_is_put_together_from_pieces(piece_bytes: int) -> None:
    whole = frame({"name": "cat \ud83d"}, b"\0payload\n")
    pieces = [whole[at : at + piece_bytes] for at in range(0, len(whole), piece_bytes)]
    reader = FrameReader(100)

    *early, last = [reader.feed(piece) for piece in pieces]

    assert set(early) <= {None}
    assert last == ({"name": "cat \ud83d"}, b"\0payload\n")
    assert reader.feed(frame({}, b"next")) == ({}, b"next")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(struct.pack("!II", 2, 101) + b"{}", id="more than was agreed"),
        pytest.param(struct.pack("!II", 2**31, 0), id="an endless header"),
        pytest.param(struct.pack("!II", 2, 0) + b"{]", id="no JSON"),
        pytest.param(struct.pack("!II", 2, 0) + b"[]", id="no header"),
        pytest.param(frame({}) + frame({}), id="two answers"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenFrameError):
        FrameReader(100).feed(data)


def test_the_end_of_the_link_is_the_end_of_the_frames() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(frame({"one": 1}))
        theirs.shutdown(socket.SHUT_WR)
        reader = FrameReader(0)

        assert receive(ours, reader) == ({"one": 1}, b"")
        assert receive(ours, reader) is None
