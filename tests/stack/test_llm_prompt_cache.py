"""Beginnings of prompts seen before are cached by the provider's rules."""

from __future__ import annotations

import pytest

from harness.stack.llm.prompt_cache import PromptCache


@pytest.mark.parametrize(
    ("tokens_before", "cached"),
    [
        pytest.param(1023, 0, id="below 1024 nothing is cached"),
        pytest.param(1024, 1024, id="from 1024 on"),
        pytest.param(1300, 1280, id="in steps of 128: 10 x 128 = 1280"),
    ],
)
def test_a_prompt_that_grew_is_cached_up_to_what_was_seen(tokens_before, cached):
    cache = PromptCache()

    assert cache.cached([b"system"], [tokens_before]) == 0
    assert cache.cached([b"system", b"question"], [tokens_before, 2000]) == cached


def test_another_beginning_is_not_cached():
    cache = PromptCache()
    cache.cached([b"system"], [2000])

    assert cache.cached([b"other", b"question"], [2000, 2100]) == 0


def test_the_beginning_not_seen_for_longest_is_forgotten():
    cache = PromptCache(capacity=2)
    for prompt in (b"first", b"second", b"third"):
        cache.cached([prompt], [1024])

    assert cache.cached([b"third"], [1024]) == 1024
    assert cache.cached([b"first"], [1024]) == 0
