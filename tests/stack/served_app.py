"""An app that tells about the process it is served in."""

from __future__ import annotations

import os
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def about(_: Request) -> JSONResponse:
    """Say who serves it, and how long a tenth of a second is by its own clock."""
    begin, true = time.perf_counter(), time.monotonic()
    while time.monotonic() - true < 0.1:
        pass
    elapsed = time.monotonic() - true
    rate = (time.perf_counter() - begin) / elapsed
    return JSONResponse({"pid": os.getpid(), "rate": rate})


def create_app() -> Any:
    """Make the app."""
    return Starlette(routes=[Route("/about", about)])
