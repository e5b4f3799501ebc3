"""The app behind a real server on this machine, in the event loop of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an app, and hand out a client of it; when the block ends the app has stopped."""
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.ensure_future(server.serve([listening]))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        # The kernel takes connections from now on; they are answered once the app has started.
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            try:
                yield client
            finally:
                await client.aclose()
                server.should_exit = True
                await serving
