"""The queue that nobody measures: bytes go through unchanged, what clients send some time later."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from harness.stack import delay_line


class Backend:
    """A server that answers every chunk by the same in capitals, until its client is done."""

    def __init__(self) -> None:
        self.seen = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            self.seen += chunk
            writer.write(chunk.upper())
            await writer.drain()
        writer.close()


async def through(sent: list[bytes], seconds: float) -> tuple[bytes, bytes, float]:
    """Send chunks through a delay line; gives what arrived, what came back, and how late."""
    backend = Backend()
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    listening = socket.create_server(("127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    line = asyncio.create_task(delay_line.serve(listening, "127.0.0.1", port, seconds))
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    begin, answer, first = loop.time(), b"", 0.0
    for chunk in sent:
        writer.write(chunk)
        await writer.drain()
    while len(answer) < len(b"".join(sent)):
        answer += await reader.read(65536)
        first = first or loop.time() - begin
    writer.write_eof()
    assert await reader.read() == b"", "the end goes through as well"
    writer.close()
    line.cancel()
    await asyncio.gather(line, return_exceptions=True)
    server.close()
    await server.wait_closed()
    return backend.seen, answer, first


def test_bytes_go_through_unchanged_and_in_order() -> None:
    sent = [os.urandom(1).hex().encode() * 50_000 for _ in range(20)]
    seen, answer, _ = asyncio.run(through(sent, 0.0))
    assert seen == b"".join(sent)
    assert answer == b"".join(sent).upper()


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_what_a_client_sends_is_held_back(seconds: float) -> None:
    _, _, first = asyncio.run(through([b"hello"], seconds))
    assert first >= seconds


def test_a_server_that_is_away_closes_the_connection() -> None:
    async def ask() -> bytes:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            listening = socket.create_server(("127.0.0.1", 0))
            to = unused.getsockname()[1]
            line = asyncio.create_task(delay_line.serve(listening, "127.0.0.1", to, 0.0))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            said = await reader.read()
            writer.close()
            line.cancel()
            await asyncio.gather(line, return_exceptions=True)
            return said

    assert asyncio.run(ask()) == b""
