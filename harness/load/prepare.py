"""The state a scenario needs first: an empty cache, or a full one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import httpx
from gevent.pool import Pool

from harness.load import chat_api, clock
from harness.load.apis.filesystem_agent import FilesystemAgent
from harness.load.chat_api import BadAnswerError, ChatApi
from harness.load.fields import checked
from harness.load.limits import Limits
from harness.load.questions import Deck
from harness.load.trace_context import headers, new_trace_id
from harness.model import HarnessError, Outcome, Sample

_AT_ONCE = 8


class PreparationError(HarnessError):
    """Why the state a scenario needs could not be made, and the mend, in one sentence."""


def _unlimited() -> Limits:
    return Limits(None, None, lambda _, __: None)


@dataclass(frozen=True, slots=True)
class Target:
    """
    Where to prepare, for which run, and how the scenario being prepared asks.

    A step may leave in `answers` what a question was answered with: the same
    question must get the same answer once it is measured. What it asks goes
    through `limits`, those of the whole run, as questions of `scenario`.
    """

    url: str
    run_id: str
    api: ChatApi = field(default_factory=FilesystemAgent)
    answers: dict[str, str] = field(default_factory=dict)
    scenario: str = ""
    limits: Limits = field(default_factory=_unlimited)


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

    The answers are kept: one that comes out of the cache later must be equal. Each question is
    a request within the limits of the run, and its answer is paid for like any other.
    """

    def step(target: Target) -> None:
        target.api.headers()  # what is wrong with them is said once, before anything is asked
        texts = [question.text for question in deck]
        _see_that_they_fit(texts, target)
        # The first is asked alone: what is wrong is found once, and an answer's price is known.
        problems = [_primed(target, texts[0])]
        if not problems[0]:
            ask = partial(_primed, target)
            problems += Pool(_AT_ONCE).map(ask, texts[1:])
        for problem in filter(None, problems):
            raise PreparationError(problem)
        if reached := target.limits.reached:
            raise PreparationError(_no_more(reached))

    step.__name__ = "prime"
    return step


def _see_that_they_fit(texts: list[str], target: Target) -> None:
    left = target.limits.left
    if left is not None and len(texts) >= left:
        raise PreparationError(
            f"priming the cache asks {len(texts)} questions, and --max-requests has {left} left "
            "for them and the load; allow more, or give the deck that is primed a smaller count="
        )


def _primed(target: Target, text: str) -> str:
    """Ask it and give what went wrong, since an exception would be printed by gevent."""
    limits, path = target.limits, target.api.path(stream=False)
    if not limits.admits():
        return _no_more(limits.reached)
    trace_id, start = new_trace_id(), clock.now()
    sent = {**target.api.headers(), **headers(trace_id, target.run_id, "preparation")}
    body = target.api.body(text, None, stream=False)
    answer, outcome, problem = None, Outcome.OK, ""
    try:
        reply = httpx.post(target.url + path, json=body, headers=sent, timeout=120)
        if reply.is_error:
            outcome = Outcome.HTTP_ERROR
            problem = f"priming the cache: {path} answered {reply.status_code}"
        else:
            answer = checked(target.api.read_answer(reply.content), target.api)
            target.answers[text] = answer.text
    except httpx.HTTPError as error:
        outcome = Outcome.BROKEN_STREAM
        problem = f"priming the cache of {target.url} failed: {error}"
    except BadAnswerError as error:
        outcome = Outcome.BAD_ANSWER
        problem = f"priming the cache: the answer of {path} cannot be read: {error}"
    except Exception as error:  # noqa: BLE001 - an adapter's slip is an answer nobody can read
        outcome = Outcome.BAD_ANSWER
        reader = f"{type(target.api).__name__} could not read the answer of {path}"
        problem = f"priming the cache: {reader}: {type(error).__name__}: {error}"
    limits.spent(
        Sample(
            scenario=target.scenario,
            operation="prime",
            trace_id=trace_id,
            intended_start=start,
            start=start,
            end=clock.now(),
            outcome=outcome,
            input_tokens=answer.input_tokens if answer else None,
            output_tokens=answer.output_tokens if answer else None,
        ),
        (answer.model or "") if answer else "",
    )
    return problem


def _no_more(reached: str) -> str:
    return (
        f"priming the cache had to stop: {reached or 'no more may be sent'}; allow more, or give "
        "the deck that is primed a smaller count="
    )
