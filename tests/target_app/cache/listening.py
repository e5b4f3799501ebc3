"""What the tests of the cache share: a listener that remembers, a codec of text, a clock."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from target_app.cache.results import Codec, Made
from target_app.cache.state import State

SECOND_NS = 1_000_000_000
NOON_NS = 1_790_000_000 * SECOND_NS

TEXT: Codec[str] = Codec(str.encode, bytes.decode)

NOW = State(b"paths", b"contents", NOON_NS - SECOND_NS + 1)
EDITED = State(b"paths", b"other", NOON_NS - SECOND_NS + 1)
MOVED = State(b"other", b"other", NOON_NS - SECOND_NS + 1)


@dataclass
class WallClock:
    """A clock that stands still until it is set."""

    ns: int = NOON_NS

    def __call__(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += int(seconds * SECOND_NS)


@dataclass
class Heard:
    """A listener that remembers what it heard, but no durations."""

    gets: Counter[tuple[str, str]] = field(default_factory=Counter)
    sets: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    evictions: Counter[str] = field(default_factory=Counter)
    cleared_counts: list[int] = field(default_factory=list)
    saved_seconds: float = 0.0

    def got(self, result: str, reason: str, seconds: float) -> None:
        self.gets[result, str(reason)] += 1

    def stored(self, result: str, seconds: float) -> None:
        self.sets[result] += 1

    def invalidated(self, reason: str, count: int) -> None:
        self.invalid[str(reason)] += count

    def evicted(self, tier: str, count: int) -> None:
        self.evictions[tier] += count

    def cleared(self, count: int, seconds: float) -> None:
        self.cleared_counts.append(count)

    def saved(self, seconds: float) -> None:
        self.saved_seconds += seconds


@dataclass
class Maker:
    """Makes one value, and counts how often it was asked to."""

    value: str = "value"
    keep: bool = True
    seconds: float = 0.5
    runs: int = 0

    async def __call__(self) -> Made[str]:
        self.runs += 1
        return Made(self.value, self.keep, self.seconds, len(self.value))
