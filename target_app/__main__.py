"""Start the app: `python -m target_app`, on HOST and PORT, with as many WORKERS."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial

import uvicorn

from target_app.main import create_app, settings_or_exit
from target_app.observability.logs import configure_logs
from target_app.observability.multiprocess import VARIABLE, shared_by_workers
from target_app.observability.redaction import make_redactor


def main() -> None:
    """Serve until stopped."""
    settings = settings_or_exit()
    # Without a logging of uvicorn's own: its lines are redacted and written like all others.
    serve = partial(
        uvicorn.run, host=settings.host, port=settings.port, access_log=False, log_config=None
    )
    is_shared = settings.workers > 1 or VARIABLE in os.environ
    with shared_by_workers() if is_shared else nullcontext():
        if settings.workers == 1:
            serve(create_app(settings))
        else:
            configure_logs(settings, make_redactor(settings))
            serve("target_app.main:create_app", factory=True, workers=settings.workers)


if __name__ == "__main__":
    main()
