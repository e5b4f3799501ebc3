"""
Clients that ask again as soon as they are answered.

A request is bytes made once and an answer is only looked at for its status, so that a client
costs a small part of what it measures. Every connection stays open for the whole block.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import cast

import httptools

OK = 200


@dataclass(frozen=True, slots=True)
class Block:
    """What some clients saw together: how long each request took, and all of it (seconds)."""

    latencies: list[float]
    elapsed: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.elapsed


def get(path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Write a request without a body."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """Write a request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask_for(port: int, request: bytes, clients: int, seconds: float) -> Block:
    """Ask for so long; what was begun by then is waited for, and counts."""
    deadline = time.perf_counter() + seconds

    def requests() -> Iterator[bytes]:
        while time.perf_counter() < deadline:
            yield request

    return await _ask(port, requests(), clients)


async def ask_times(port: int, request: bytes, clients: int, times: int) -> Block:
    """Ask so many times in all."""
    return await _ask(port, repeat(request, times), clients)


async def ask_each(port: int, requests: Sequence[bytes], clients: int) -> Block:
    """Ask everything once; each client takes the next one when it is free."""
    return await _ask(port, iter(requests), clients)


async def _ask(port: int, requests: Iterator[bytes], clients: int) -> Block:
    connections = [await connect(port) for _ in range(clients)]
    latencies: list[float] = []

    async def client(connection: Connection) -> None:
        for request in requests:
            begun = time.perf_counter()
            await connection.exchange(request)
            latencies.append(time.perf_counter() - begun)

    started = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as together:
            for connection in connections:
                together.create_task(client(connection))
        return Block(latencies, time.perf_counter() - started)
    finally:
        for connection in connections:
            await connection.close()


async def connect(port: int) -> Connection:
    """Open a connection to a server on this machine."""
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Connection, "127.0.0.1", port))[1]


class Connection(asyncio.Protocol):
    """One connection to the server; raises ConnectionError for any answer but 200."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[None] | None = None
        self._lost: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport

    async def exchange(self, request: bytes) -> None:
        """Send a request and wait for the end of its answer."""
        self._answered = answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await answered

    async def close(self) -> None:
        """Close it, and wait until it is."""
        self._transport.close()
        await self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on in the answer."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """End the exchange; the parser calls this."""
        status = self._parser.get_status_code()
        self._end(None if status == OK else f"answered with status {status}")

    def connection_lost(self, _: Exception | None) -> None:
        """End the exchange, and all that could follow."""
        self._end("the server closed the connection")
        self._lost.set_result(None)

    def _end(self, fault: str | None) -> None:
        """End the exchange, if there is one."""
        if self._answered is None or self._answered.done():
            return
        if fault is None:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(ConnectionError(fault))
