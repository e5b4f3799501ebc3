"""The truth log: what the simulated LLM did, one line a call, for others to be compared with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CallRecord:
    """
    One call that has ended.

    `at` is the Unix time it arrived at and `seconds` how long it took from there. `status` is the
    HTTP status answered, 499 when the client left before the end. Tokens are those the model
    processed, also if a fault kept the usage from the caller; a refused call processed none.
    """

    at: float
    trace_id: str | None
    model: str
    stream: bool
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    status: int
    fault: str | None
    seconds: float


class TruthLog:
    """Appends records to a file of JSON lines as they come; without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, once; raises OSError if it cannot be written."""
        self._file = None if path is None else path.open("a", buffering=1, encoding="utf-8")

    def write(self, record: CallRecord) -> None:
        """Append one record."""
        if self._file is not None:
            self._file.write(json.dumps(asdict(record)) + "\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
