"""A draw depends on the call, not on what was drawn before."""

from __future__ import annotations

from harness.stack.llm.draws import CallKey, Ordinals


def test_the_same_call_draws_the_same_whatever_was_drawn_before():
    key = CallKey(seed=7, digest=b"prompt", ordinal=0)
    key.random("latency").random()

    assert key.random("latency").random() == CallKey(7, b"prompt", 0).random("latency").random()


def test_seed_prompt_ordinal_and_purpose_each_change_the_draw():
    draws = {
        CallKey(7, b"prompt", 0).token("id"),
        CallKey(8, b"prompt", 0).token("id"),
        CallKey(7, b"other", 0).token("id"),
        CallKey(7, b"prompt", 1).token("id"),
        CallKey(7, b"prompt", 0).token("call 0"),
    }

    assert len(draws) == 5
    assert {len(draw) for draw in draws} == {24}


def test_ordinals_count_each_digest_and_forget_the_one_not_seen_for_longest():
    ordinals = Ordinals(capacity=2)

    counted = [ordinals.next(digest) for digest in (b"a", b"b", b"a", b"c", b"a", b"b")]

    assert counted == [0, 0, 1, 0, 2, 0]
