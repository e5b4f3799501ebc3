"""
The messages between the app and a worker process: a JSON header and raw bytes.

Each frame begins with the two lengths. A frame has a bound, so that neither side can make the
other hold more than it means to.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

_LENGTHS = struct.Struct("!II")

MAX_HEADER_BYTES = 1024 * 1024

Header = dict[str, Any]


class BrokenFrameError(Exception):
    """The other side sent what is no frame, or more than it may."""


def frame(header: Header, payload: bytes = b"") -> bytes:
    """Write a frame."""
    text = json.dumps(header).encode()
    return b"".join((_LENGTHS.pack(len(text), len(payload)), text, payload))


class FrameReader:
    """Puts frames together from bytes in whatever pieces they come."""

    def __init__(self, max_payload_bytes: int) -> None:
        self._max_payload_bytes = max_payload_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> tuple[Header, bytes] | None:
        """
        Take bytes, and answer the frame once it is whole.

        Raises BrokenFrameError for a frame that is none or too large, or that is followed by
        something: there is one answer to one request.
        """
        self._held += data
        if len(self._held) < _LENGTHS.size:
            return None
        header_bytes, payload_bytes = _LENGTHS.unpack_from(self._held)
        if header_bytes > MAX_HEADER_BYTES or payload_bytes > self._max_payload_bytes:
            raise BrokenFrameError
        begin = _LENGTHS.size + header_bytes
        end = begin + payload_bytes
        if len(self._held) < end:
            return None
        if len(self._held) > end:
            raise BrokenFrameError
        try:
            header = json.loads(self._held[_LENGTHS.size : begin])
        except ValueError:
            raise BrokenFrameError from None
        if not isinstance(header, dict):
            raise BrokenFrameError
        payload = bytes(self._held[begin:])
        self._held.clear()
        return header, payload


def receive(link: socket.socket, reader: FrameReader) -> tuple[Header, bytes] | None:
    """Wait for the next frame; None when the other side has closed the link."""
    while True:
        data = link.recv(65536)
        if not data:
            return None
        whole = reader.feed(data)
        if whole is not None:
            return whole
