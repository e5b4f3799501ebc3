"""A call that failed is made again when that may help, and while nobody has read its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply, Usage
from target_app.agent.retries import Retries, RetryingLLM

pytestmark = pytest.mark.anyio

DONE = Reply("done", (), None, "m")
BUSY = LLMError("rate_limit", "too many calls", 429)
DOWN = LLMError("http_error", "status 503", 503)
GONE = LLMError("connection", "nobody there")


@dataclass
class Clock:
    """A clock that moves when somebody sleeps, and as far as calls take."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Flaky:
    """An LLM whose calls end as its script says; each takes `seconds`, after `tokens`."""

    clock: Clock
    turns: list[Reply | BaseException]
    seconds: float = 0.0
    tokens: Sequence[str] = ()
    prompts: list[Prompt] = field(default_factory=list)

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        turn = self.turns[len(self.prompts)]
        self.prompts.append(prompt)
        self.clock.now += self.seconds
        for token in self.tokens:
            assert on_token is not None
            await on_token(token)
        if isinstance(turn, BaseException):
            raise turn
        return turn


@dataclass
class Made:
    """A retrying LLM and all that stands around it."""

    clock: Clock
    inner: Flaky
    llm: RetryingLLM

    async def ask(self, on_token: OnToken | None = None) -> Reply:
        return await self.llm.call(Prompt([], [], {"a": "b"}), on_token)


def flaky(
    *turns: Reply | BaseException, attempts: int = 3, deadline: float = 60.0, **more: Any
) -> Made:
    clock = Clock()
    inner = Flaky(clock, list(turns), **more)
    retries = Retries(attempts, deadline, clock, clock.sleep, draw=lambda: 0.5)
    return Made(clock, inner, RetryingLLM(inner, retries))


async def ignore(_: str) -> None:
    pass


async def test_an_answer_is_asked_for_once() -> None:
    made = flaky(DONE)

    assert await made.ask() == DONE
    assert (len(made.inner.prompts), made.clock.slept) == (1, [])


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(BUSY, id="429"),
        pytest.param(LLMError("http_error", "", 500), id="500"),
        pytest.param(DOWN, id="503"),
        pytest.param(GONE, id="no connection"),
    ],
)
async def test_what_may_pass_is_tried_again(failure: LLMError) -> None:
    made = flaky(failure, failure, DONE)

    assert await made.ask() == DONE
    assert made.clock.slept == [0.375, 0.75]


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(LLMError("http_error", "", 400), id="400"),
        pytest.param(LLMError("http_error", "", 401), id="401"),
        pytest.param(LLMError("timeout", ""), id="too slow"),
        pytest.param(LLMError("broken_answer", ""), id="broken answer"),
        pytest.param(ZeroDivisionError(), id="a fault of the app"),
        pytest.param(asyncio.CancelledError(), id="given up by the caller"),
    ],
)
async def test_what_will_not_pass_is_not_tried_again(failure: BaseException) -> None:
    made = flaky(failure, DONE)

    with pytest.raises(type(failure)) as raised:
        await made.ask()

    assert raised.value is failure
    assert (len(made.inner.prompts), made.clock.slept) == (1, [])


async def test_the_last_failure_is_the_one_told() -> None:
    made = flaky(BUSY, GONE, DOWN, DONE)

    with pytest.raises(LLMError, match="status 503"):
        await made.ask()

    assert len(made.inner.prompts) == 3


async def test_the_llm_is_left_alone_for_as_long_as_it_asked() -> None:
    made = flaky(LLMError("rate_limit", "", 429, retry_after_seconds=7.0), DONE)

    await made.ask()

    assert made.clock.slept == [7.375]


async def test_nobody_waits_past_the_deadline() -> None:
    made = flaky(LLMError("rate_limit", "", 429, retry_after_seconds=60.0), DONE)

    with pytest.raises(LLMError):
        await made.ask()

    assert made.clock.slept == []


async def test_slow_failures_use_up_the_deadline() -> None:
    made = flaky(DOWN, DOWN, DOWN, DONE, attempts=10, deadline=20.0, seconds=9.0)

    with pytest.raises(LLMError):
        await made.ask()

    # 9 s, 0.375 s, 9 s: not even one second is left to wait and ask.
    assert len(made.inner.prompts) == 3
    assert [prompt.timeout_seconds for prompt in made.inner.prompts] == [20.0, 10.625, 0.875]


@pytest.mark.parametrize(
    ("attempt", "draw", "seconds"),
    [
        pytest.param(1, 0.0, 0.25, id="at least half of it"),
        pytest.param(1, 1.0, 0.5, id="at most all of it"),
        pytest.param(2, 1.0, 1.0, id="twice as long"),
        pytest.param(9, 1.0, 8.0, id="never longer than this"),
    ],
)
def test_pauses_grow_and_are_spread(attempt: int, draw: float, seconds: float) -> None:
    retries = Retries(10, 60.0, draw=lambda: draw)

    assert retries.pause(attempt, None) == seconds
    assert retries.pause(attempt, 3.0) == 3.0 + seconds


async def test_a_stream_is_tried_again_while_it_is_silent() -> None:
    made = flaky(DOWN, DONE)

    assert await made.ask(ignore) == DONE


async def test_a_stream_that_was_read_is_not_tried_again() -> None:
    made = flaky(GONE, DONE, tokens=["Hel"])
    read: list[str] = []

    async def on_token(text: str) -> None:
        read.append(text)

    with pytest.raises(LLMError):
        await made.ask(on_token)

    assert (read, len(made.inner.prompts)) == (["Hel"], 1)


@dataclass
class Breaking:
    """An LLM that breaks off twice, of which the first attempt had begun an answer."""

    attempts: int = 0

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        self.attempts += 1
        if self.attempts == 1:
            assert prompt.broke_off is not None
            prompt.broke_off(Reply("", (), Usage(7, 0, 2), "m", usage_estimated=True))
        if self.attempts < 3:
            raise GONE
        return Reply("done", (), Usage(10, 0, 5), "m")


async def test_what_attempts_took_that_broke_off_is_in_the_usage() -> None:
    clock = Clock()
    llm = RetryingLLM(Breaking(), Retries(3, 60.0, clock, clock.sleep))

    reply = await llm.call(Prompt([], []), ignore)

    assert (reply.content, reply.usage) == ("done", Usage(17, 0, 7))


async def test_concurrent_calls_count_their_own_attempts() -> None:
    clock = Clock()
    retries = Retries(2, 60.0, clock, lambda _: asyncio.sleep(0), draw=lambda: 0.0)

    async def ask(*turns: Reply | BaseException) -> Reply:
        return await RetryingLLM(Flaky(clock, list(turns)), retries).call(Prompt([], []), None)

    answers = await asyncio.gather(
        ask(DOWN, DONE), ask(DOWN, DOWN, DONE), ask(DONE), return_exceptions=True
    )

    assert answers == [DONE, DOWN, DONE]


async def test_every_attempt_is_given_what_the_call_was_given() -> None:
    made = flaky(DOWN, DONE)

    await made.ask()

    assert [prompt.headers for prompt in made.inner.prompts] == [{"a": "b"}, {"a": "b"}]


async def test_every_attempt_is_counted() -> None:
    made = flaky(BUSY, BUSY, DONE, DONE)

    await made.ask()
    assert made.llm.calls == 3
    await made.ask()
    assert made.llm.calls == 4
