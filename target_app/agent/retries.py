"""Asking the LLM again when it may answer the next time."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from target_app.agent.llm import LLM, LLMError, OnToken
from target_app.agent.messages import Prompt, Reply

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 8.0

Call = Callable[[Prompt, OnToken | None], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Retries:
    """
    How often an LLM call is tried, and for how long.

    `deadline_seconds` bounds all attempts together with the pauses between them: no attempt
    begins after it, and the one that is running then is given up. `clock` gives seconds,
    `sleep` waits for some, and `draw` gives a number from 0 to 1 that spreads the pauses, lest
    all who were refused together come back together.
    """

    max_attempts: int
    deadline_seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random

    def pause(self, attempt: int, asked_seconds: float | None) -> float:
        """
        Choose the seconds between this attempt, counted from 1, and the next.

        They double each time, half of them at random, and come on top of what the LLM asked for.
        """
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
        return (asked_seconds or 0.0) + longest * (1 + self.draw()) / 2


class RetryingLLM:
    """
    An LLM that is asked again after a failure that may pass.

    Each attempt is a call of its own to the LLM it wraps, and `calls` counts them all. Once a
    piece of a streamed answer was handed out there is no other attempt: nobody can take back what
    was read. The usage of an answer includes that of attempts at it which broke off.
    """

    def __init__(self, llm: LLM, retries: Retries) -> None:
        """Wrap `llm`."""
        self._llm = llm
        self._retries = retries
        self.calls = 0

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        """Ask until there is an answer. Raises the LLMError of the last attempt."""
        attempts = _Attempts(self._call, self._retries, prompt, on_token)
        try:
            return await attempts.make()
        except LLMError as error:
            if not attempts.may_repeat(error):
                raise
            attempts.failure = error
        # Only now: tenacity costs as much as the whole loop, and few calls need it.
        retrying = AsyncRetrying(
            sleep=self._retries.sleep,
            retry=retry_if_exception(attempts.may_repeat),
            wait=attempts.pause,
            stop=attempts.is_over,
            reraise=True,
        )
        return await retrying(attempts.go_on)

    async def _call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        self.calls += 1
        return await self._llm.call(prompt, on_token)


class _Attempts:
    """The attempts at one call; `failure` is the first one's, until it was counted."""

    failure: LLMError | None = None

    def __init__(
        self, call: Call, retries: Retries, prompt: Prompt, on_token: OnToken | None
    ) -> None:
        self._call = call
        self._retries = retries
        self._prompt = prompt
        self._on_token = on_token
        self._deadline = retries.clock() + retries.deadline_seconds
        self._handed_out = False
        self._broken_off: list[Reply] = []

    async def make(self) -> Reply:
        left = max(0.0, self._deadline - self._retries.clock())
        prompt = dataclasses.replace(
            self._prompt, timeout_seconds=left, broke_off=self._broken_off.append
        )
        reply = await self._call(prompt, self._hand_out if self._on_token else None)
        for part in self._broken_off:
            if reply.usage is not None and part.usage is not None:
                reply = dataclasses.replace(reply, usage=part.usage + reply.usage)
        return reply

    async def go_on(self) -> Reply:
        if self.failure is None:
            return await self.make()
        failure, self.failure = self.failure, None
        raise failure

    async def _hand_out(self, text: str) -> None:
        self._handed_out = True
        if self._on_token is not None:
            await self._on_token(text)

    def may_repeat(self, error: BaseException) -> bool:
        return isinstance(error, LLMError) and error.may_pass and not self._handed_out

    def pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after_seconds if isinstance(error, LLMError) else None
        return self._retries.pause(state.attempt_number, asked)

    def is_over(self, state: RetryCallState) -> bool:
        if state.attempt_number >= self._retries.max_attempts:
            return True
        return self._retries.clock() + state.upcoming_sleep >= self._deadline
