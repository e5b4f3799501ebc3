"""What a user sees of its load session, kept as it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.load.limits import Limits
from harness.model import Sample


class KnownSession:
    """Keeps every sample; sends as long as it is let."""

    def __init__(self, run_id: str = "20260921-100000-cafe") -> None:
        self.run_id = run_id
        self.open_loop = False
        self.in_flight = 0
        self.limits = Limits(None, None, lambda _, __: None)
        self.ended: list[tuple[str, str]] = []
        self.models: list[str] = []
        self.keeps = True
        self.answers: Mapping[str, str] = {}
        self.samples: list[Sample] = []
        self.gaps: list[list[float]] = []
        self.left: int | None = None

    def label(self, scenario: str) -> str:
        return scenario

    def choose(self, tasks: Sequence[Any]) -> Any:
        return tasks[0]

    def may_send(self, *, paid: bool = True) -> bool:
        if not self.limits.admits(paid=paid):
            return False
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0

    def record(self, sample: Sample, gaps: Sequence[float] = (), model: str = "") -> None:
        if not self.keeps:
            raise ValueError("this sample cannot be kept")
        self.limits.spent(sample, model)
        self.samples.append(sample)
        self.gaps.append(list(gaps))
        self.models.append(model)

    def used_up(self, scenario: str, sentence: str) -> None:
        self.ended.append((scenario, sentence))
