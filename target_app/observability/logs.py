"""Log lines: one format, to standard error, and quiet libraries."""

from __future__ import annotations

import logging

CHATTY = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "langfuse", "opentelemetry")
"""Libraries that write a line for every request or start; only their warnings are wanted."""


def configure_logs(level: int = logging.INFO) -> None:
    """Set up logging for the process. Does nothing to handlers that are there already."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
