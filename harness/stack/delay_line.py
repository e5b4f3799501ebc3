"""
A queue nobody measures: passes bytes on to a server, each some time later.

`python -m harness.stack.delay_line --fd 7 --to 127.0.0.1:8000 --seconds 0.3`

Stands for a proxy, a load balancer or an accept queue in front of the server's
own clock. Only what clients send is held back; answers pass at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket

_CHUNK = 65536
_WATCH_SECONDS = 0.5


async def serve(listening: socket.socket, host: str, port: int, seconds: float) -> None:
    """Accept connections and pass them on until cancelled."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, answers = await _connect(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_hold_back(reader, answers, seconds), _pass_on(onward, writer))

    server = await asyncio.start_server(connected, sock=listening)
    async with server:
        await server.serve_forever()


async def _connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(host, port)


async def _hold_back(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    """Pass chunks on in order, each `seconds` after it came."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def read() -> None:
        chunk = b"-"
        while chunk:
            try:
                chunk = await reader.read(_CHUNK)
            except ConnectionError:
                chunk = b""
            waiting.put_nowait((loop.time() + seconds, chunk))

    reading = asyncio.create_task(read())
    with contextlib.suppress(ConnectionError):
        while True:
            due, chunk = await waiting.get()
            await asyncio.sleep(due - loop.time())
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
    reading.cancel()
    writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


async def _until_orphaned(parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - nobody tells of a parent's end
        await asyncio.sleep(_WATCH_SECONDS)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    listening = socket.socket(fileno=options.fd)
    serving = asyncio.create_task(serve(listening, host, int(port), options.seconds))
    await _until_orphaned(os.getppid())
    serving.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
