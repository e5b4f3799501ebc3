"""How a scenario went, in a few words for the terminal."""

from __future__ import annotations

from harness.model import Outcome
from harness.runs import RunDirectory, WindowRecord


def tally(directory: RunDirectory, record: WindowRecord) -> str:
    """Say how many requests were sent, how many of them failed, and how the first one did."""
    said = f"{_requests(record.requests)} in {record.window.duration:.0f} s"
    failed = [
        sample
        for sample in directory.read_samples(record.window.name)
        if sample.outcome not in (Outcome.OK, Outcome.SHED)
    ]
    if failed:
        first = min(failed, key=lambda sample: sample.start)
        why = f": {first.detail}" if first.detail else ""
        said += f", {len(failed)} failed (first: {first.outcome.value}{why})"
    return f"{said}, {record.shed} shed" if record.shed else said


def _requests(count: int) -> str:
    return "1 request" if count == 1 else f"{count} requests"
