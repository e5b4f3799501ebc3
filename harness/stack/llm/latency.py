"""
How long the simulated LLM takes: log-normal time to first token, log-normal token rate.

The laws are the usual shape of hosted models (a hard floor, a long tail to the right). Their
medians are those of a small hosted model; the scale shortens every time alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from random import Random

from harness.stack.llm.draws import CallKey


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A log-normal law by its median and the standard deviation of the logarithm."""

    median: float
    sigma: float

    def draw(self, rng: Random) -> float:
        """Draw one value, in the unit of the median."""
        return self.median * exp(self.sigma * rng.gauss())


TIME_TO_FIRST_TOKEN = LogNormal(median=0.55, sigma=0.35)  # seconds
TOKENS_PER_SECOND = LogNormal(median=90.0, sigma=0.2)


@dataclass(frozen=True, slots=True)
class Pace:
    """The speed of one answer, in seconds."""

    first_token_seconds: float
    seconds_per_token: float

    def total_seconds(self, tokens: int) -> float:
        """Time from the call to the last of `tokens` tokens."""
        return self.first_token_seconds + tokens * self.seconds_per_token

    def delayed(self, seconds: float) -> Pace:
        """Give the same speed, begun so much later."""
        return replace(self, first_token_seconds=self.first_token_seconds + seconds)

    def instants(self, tokens: int, pieces: int) -> tuple[float, ...]:
        """
        When each of `pieces` equal parts of an answer of `tokens` tokens is sent, after the call.

        The first leaves at the time to first token, the last at the total time.
        """
        if pieces == 1:
            return (self.total_seconds(tokens),)
        step = tokens * self.seconds_per_token / (pieces - 1)
        return tuple(self.first_token_seconds + step * index for index in range(pieces))


def draw_pace(key: CallKey, scale: float) -> Pace:
    """Draw the speed of one call; every time is multiplied by `scale`."""
    rng = key.random("latency")
    first_token = TIME_TO_FIRST_TOKEN.draw(rng)
    return Pace(first_token * scale, scale / TOKENS_PER_SECOND.draw(rng))
