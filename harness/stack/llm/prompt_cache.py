"""The discount on prompts whose beginning was seen before."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

CACHE_MINIMUM = 1024  # tokens below which nothing is cached
CACHE_STEP = 128  # tokens


class PromptCache:
    """
    Remembers beginnings of prompts, as the provider does to bill them at a lower price.

    Only whole messages are compared, where the provider compares tokens. Its other rules are
    kept: below 1024 tokens nothing is cached, and what is cached comes in steps of 128.
    """

    def __init__(self, capacity: int = 20_000) -> None:
        """Make an empty cache that remembers at most `capacity` beginnings."""
        self._capacity = capacity
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def cached(self, prefixes: Sequence[bytes], tokens: Sequence[int]) -> int:
        """
        Give the cached tokens of a prompt, then remember it.

        `prefixes` are digests of the prompt up to each message, `tokens` its tokens up to there.
        """
        known = max(
            (size for prefix, size in zip(prefixes, tokens, strict=True) if prefix in self._seen),
            default=0,
        )
        for prefix in prefixes:
            self._seen[prefix] = None
            self._seen.move_to_end(prefix)
        while len(self._seen) > self._capacity:
            self._seen.popitem(last=False)
        return known // CACHE_STEP * CACHE_STEP if known >= CACHE_MINIMUM else 0
