"""What spans take in a database: the Langfuse stand-in's, which has one row for each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import otlp_sink

from harness.stack.langfuse.app import Standin
from harness.stack.langfuse.settings import Settings


@dataclass(frozen=True, slots=True)
class Stored:
    """How many rows there are, and the size of the file that holds them."""

    rows: int
    file_bytes: int


def store_spans(kept: Path, database: Path) -> Stored:
    """Store what a sink kept in a new database, as if it had come just now."""
    settings = Settings(public_key="pk-lf-unused", secret_key="sk-lf-unused", db=str(database))  # noqa: S106
    standin = Standin(settings, time.time)
    rows = sum(standin.take(body) for body in otlp_sink.kept(kept))
    standin.store.close()
    return Stored(rows, database.stat().st_size)
