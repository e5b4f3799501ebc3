"""Random draws that depend on the call itself, not on the order in which calls arrive."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from random import Random


@dataclass(frozen=True, slots=True)
class CallKey:
    """One call: the run's seed, the digest of its messages, how often these came before."""

    seed: int
    digest: bytes
    ordinal: int

    def random(self, purpose: str) -> Random:
        """Give a generator for one purpose; purposes do not influence each other."""
        return Random(self._hash(purpose))  # noqa: S311 - to be repeated, not kept secret

    def token(self, purpose: str) -> str:
        """Give 24 hexadecimal characters that name something in the answer to this call."""
        return f"{self._hash(purpose):048x}"[:24]

    def _hash(self, purpose: str) -> int:
        text = f"{self.seed}/{self.digest.hex()}/{self.ordinal}/{purpose}"
        return int.from_bytes(blake2b(text.encode(), digest_size=24).digest())


class Ordinals:
    """Counts how often each digest came; forgets the digests not seen for longest."""

    def __init__(self, capacity: int = 20_000) -> None:
        """Make a counter that remembers at most `capacity` digests."""
        self._capacity = capacity
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def next(self, digest: bytes) -> int:
        """Give 0 for the first call with this digest, 1 for the second, and so on."""
        ordinal = self._seen.pop(digest, -1) + 1
        self._seen[digest] = ordinal
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return ordinal
