"""From measurements to verdicts: pure functions, no input or output."""

from harness.judge.decide import judge

__all__ = ["judge"]
