"""Reading an uploaded file as it arrives: never more of it in memory than one piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

FIELD = "file"
"""The name of the one part of the form."""


class Upload:
    """
    A form of one file (multipart/form-data, RFC 7578), read from the request piece by piece.

    Raises HTTPException 400 for whatever is no such form.
    """

    def __init__(self, request: Request) -> None:
        """Begin to read the request."""
        media_type, options = parse_options_header(request.headers.get("content-type"))
        if media_type != b"multipart/form-data" or not options.get(b"boundary"):
            raise _no_form("multipart/form-data is wanted, with a boundary")
        self.filename: str | None = None
        self._received = request.stream()
        self._pieces: list[bytes] = []
        self._header_name = b""
        self._header_value = b""
        self._parts = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._header_name_comes,
                    "on_header_value": self._header_value_comes,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data_comes,
                    "on_end": self._form_ends,
                },
            )
        except FormParserError as error:
            raise _no_form(str(error)) from None

    async def read_filename(self) -> str:
        """Read as far as the name of the file."""
        while self.filename is None:
            if not await self._advance():
                raise _no_form(f"a part named {FIELD!r} with a filename is wanted")
        return self.filename

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the content as it comes. What was yielded is whole only when this ends."""
        more = True
        while more:
            piece = b"".join(self._pieces)
            self._pieces.clear()
            if piece:
                yield piece
            more = await self._advance()
        if not self._ended:
            raise _no_form("the form breaks off")

    async def _advance(self) -> bool:
        """Read a little more of the request; False at its end."""
        data = await anext(self._received, b"")
        if not data:
            return False
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _no_form(str(error)) from None
        return True

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise _no_form("one part only is wanted")

    def _header_name_comes(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_value_comes(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_ends(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            if options.get(b"name") == FIELD.encode() and b"filename" in options:
                self.filename = options[b"filename"].decode(errors="replace")
        self._header_name = self._header_value = b""

    def _headers_end(self) -> None:
        if self.filename is None:
            raise _no_form(f"a part named {FIELD!r} with a filename is wanted")

    def _data_comes(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _form_ends(self) -> None:
        self._ended = True


def _no_form(reason: str) -> HTTPException:
    return HTTPException(400, reason)
