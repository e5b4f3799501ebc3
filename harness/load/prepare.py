"""The state a scenario needs first: an empty cache, or a full one."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from gevent.pool import Pool

from harness.load import chat_api
from harness.load.questions import Deck
from harness.load.trace_context import headers, new_trace_id
from harness.model import HarnessError

_AT_ONCE = 8


class PreparationError(HarnessError):
    """Why the state a scenario needs could not be made, and the mend, in one sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to prepare, and for which run."""

    url: str
    run_id: str


Step = Callable[[Target], None]


def clear_cache(target: Target) -> None:
    """Empty the app's caches through its management endpoint."""
    try:
        answer = httpx.delete(target.url + chat_api.CACHE, headers=authorization(), timeout=30)
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
    """Ask every question of a deck once, unmeasured, so that the next time finds it cached."""

    def ask(target: Target, text: str) -> str:
        """Ask it and give what went wrong, since an exception would be printed by gevent."""
        sent = {**authorization(), **headers(new_trace_id(), target.run_id, "preparation")}
        try:
            answer = httpx.post(
                target.url + chat_api.CHAT,
                json=chat_api.question(text, None),
                headers=sent,
                timeout=120,
            )
        except httpx.HTTPError as error:
            return f"priming the cache of {target.url} failed: {error}"
        if answer.is_error:
            return f"priming the cache: {chat_api.CHAT} answered {answer.status_code}"
        return ""

    def step(target: Target) -> None:
        problems = Pool(_AT_ONCE).map(lambda question: ask(target, question.text), deck)
        for problem in filter(None, problems):
            raise PreparationError(problem)

    step.__name__ = "prime"
    return step


def authorization() -> dict[str, str]:
    """Give the header that carries TARGET_TOKEN from the environment, if it is set."""
    token = os.environ.get("TARGET_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}
