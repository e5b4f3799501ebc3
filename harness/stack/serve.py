"""
Serve one ASGI app on a socket that the supervisor already holds.

`python -m harness.stack.serve module:factory --fd 7 [--clock-rate 1.2]`

The process ends with its parent, however that dies. A clock rate other than 1
makes every duration that the app measures wrong by that factor: the fault of a
server whose metrics do not tell the truth.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
import time

import uvicorn

_WATCH_SECONDS = 0.5
_GRACE_SECONDS = 2


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--clock-rate", type=float, default=1.0)
    options = parser.parse_args()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    if options.clock_rate != 1:
        _skew(options.clock_rate)
    config = uvicorn.Config(
        options.app,
        factory=True,
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=options.fd)])


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _skew(rate: float) -> None:
    true, start = time.perf_counter, time.perf_counter()
    time.perf_counter = lambda: start + rate * (true() - start)


if __name__ == "__main__":
    main()
