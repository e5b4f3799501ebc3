"""
Requests at a fixed rate, whether or not the ones before were answered.

The time of a request runs from the instant it was meant to be sent: a server that stalls makes the
requests wait that come meanwhile, and that is counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from closed_loop import Block, Connection, connect


async def ask_at_rate(port: int, requests: Sequence[bytes], rate: float) -> Block:
    """Send one request after the other, so many a second; latencies stand in their order."""
    every: list[Connection] = []
    free: deque[Connection] = deque()

    async def ask(request: bytes, intended: float) -> float:
        await asyncio.sleep(intended - time.perf_counter())
        if not free:
            every.append(await connect(port))
            free.append(every[-1])
        connection = free.popleft()
        await connection.exchange(request)
        free.append(connection)
        return time.perf_counter() - intended

    started = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as together:
            asked = [
                together.create_task(ask(request, started + number / rate))
                for number, request in enumerate(requests)
            ]
        return Block([one.result() for one in asked], time.perf_counter() - started)
    finally:
        for connection in every:
            await connection.close()
