"""The state a scenario needs first: an empty cache, or a full one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from gevent.pool import Pool

from harness.load import chat_api
from harness.load.apis.filesystem_agent import FilesystemAgent
from harness.load.chat_api import BadAnswerError, ChatApi
from harness.load.questions import Deck
from harness.load.trace_context import headers, new_trace_id
from harness.model import HarnessError

_AT_ONCE = 8


class PreparationError(HarnessError):
    """Why the state a scenario needs could not be made, and the mend, in one sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where to prepare, for which run, and how the scenario being prepared asks.

    A step may leave in `answers` what a question was answered with: the same
    question must get the same answer once it is measured.
    """

    url: str
    run_id: str
    api: ChatApi = field(default_factory=FilesystemAgent)
    answers: dict[str, str] = field(default_factory=dict)


Step = Callable[[Target], None]


def clear_cache(target: Target) -> None:
    """Empty the app's caches through its management endpoint."""
    try:
        answer = httpx.delete(
            target.url + chat_api.CACHE, headers=dict(target.api.headers()), timeout=30
        )
    except httpx.HTTPError as error:
        raise PreparationError(f"cannot clear the cache of {target.url}: {error}") from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise PreparationError(
            f"{target.url}{chat_api.CACHE} is not there: start the app with "
            "CACHE_MANAGEMENT_ENABLED=true, so that scenarios can begin with an empty cache"
        )
    if answer.is_error:
        raise PreparationError(f"clearing the cache was answered with {answer.status_code}")


def prime(deck: Deck) -> Step:
    """
    Ask every question of a deck once, unmeasured, so that the next time finds it cached.

    The answers are kept: one that comes out of the cache later must be equal.
    """

    def ask(target: Target, text: str) -> str:
        """Ask it and give what went wrong, since an exception would be printed by gevent."""
        path = target.api.path(stream=False)
        sent = {
            **target.api.headers(),
            **headers(new_trace_id(), target.run_id, "preparation"),
        }
        body = target.api.body(text, None, stream=False)
        try:
            answer = httpx.post(target.url + path, json=body, headers=sent, timeout=120)
        except httpx.HTTPError as error:
            return f"priming the cache of {target.url} failed: {error}"
        if answer.is_error:
            return f"priming the cache: {path} answered {answer.status_code}"
        try:
            target.answers[text] = target.api.read_answer(answer.content).text
        except BadAnswerError as error:
            return f"priming the cache: the answer of {path} cannot be read: {error}"
        return ""

    def step(target: Target) -> None:
        target.api.headers()  # what is wrong with them is said once, before anything is asked
        problems = Pool(_AT_ONCE).map(lambda question: ask(target, question.text), deck)
        for problem in filter(None, problems):
            raise PreparationError(problem)

    step.__name__ = "prime"
    return step
