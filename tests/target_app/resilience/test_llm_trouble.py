"""An LLM that is down, refuses, hangs or breaks off: clear errors, and all is well when it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.target_app.resilience.llm_server import LLMServer, Trouble, plan
from tests.target_app.resilience.processes import AppProcess, running
from tests.target_app.scripted import call

pytestmark = pytest.mark.anyio

ATTEMPTS = 3
CHATS = 30
READ = call("cat", path="readme.md")


@pytest.fixture(scope="module")
async def app(llm: LLMServer, root: Path) -> AsyncIterator[AppProcess]:
    patience = {"llm_max_attempts": ATTEMPTS, "llm_deadline_seconds": 8, "llm_timeout_seconds": 2}
    async with running(llm, root, **patience) as started:
        yield started


@pytest.fixture(autouse=True)
async def well(llm: LLMServer) -> AsyncIterator[None]:
    yield
    llm.recover()
    if not llm.is_up:
        await llm.go_up()


@dataclass(frozen=True, slots=True)
class Counted:
    """LLM calls and chats, as the app counts them and as they were."""

    seen_by_llm: float
    succeeded: float
    failed: float
    answered: float
    unanswered: float
    sessions: float

    @classmethod
    async def by(cls, app: AppProcess, llm: LLMServer) -> Counted:
        return cls(
            len(llm.asked),
            await app.total("llm_calls_total", status="success"),
            await app.total("llm_calls_total", status="error"),
            await app.total("agent_completions_total", status="success"),
            await app.total("agent_completions_total", status="error"),
            await app.total("active_sessions_total"),
        )

    def __sub__(self, other: Counted) -> Counted:
        mine, theirs = ([getattr(c, name) for name in self.__slots__] for c in (self, other))
        return Counted(*(now - then for now, then in zip(mine, theirs, strict=True)))


async def many(app: AppProcess) -> list[httpx.Response]:
    """Ask many questions at once, each of which has its own answer."""
    return await asyncio.gather(
        *(app.chat(plan([READ], answer=f"answer {number}")) for number in range(CHATS))
    )


def envelope(kind: str, message: str, **details: Any) -> dict[str, Any]:
    return {"error": "LLM_ERROR", "message": message, "details": {"kind": kind, **details}}


async def test_a_session_goes_on_once_the_llm_is_up_again(app: AppProcess, llm: LLMServer) -> None:
    first, lost, second = (plan(answer=word) for word in ("first", "lost", "second"))
    assert (await app.chat(first, "long-talk")).json()["response"] == "first"
    before = await Counted.by(app, llm)

    await llm.go_down()
    failed, streamed = await asyncio.gather(app.chat(lost, "long-talk"), app.stream(lost))
    ready = await app.client.get("/ready")
    await llm.go_up()
    answered = await app.chat(second, "long-talk")

    told = envelope("connection", "the connection to the LLM failed")
    assert (failed.status_code, failed.json()) == (502, told)
    assert streamed[-1][0] == "error"
    assert streamed[-1][1]["message"] == told["message"]
    assert ready.status_code == 200
    assert answered.json()["response"] == "second"
    said = (await app.client.get("/api/chat/sessions/long-talk/history")).json()["history"]
    assert [turn["content"] for turn in said] == [first, "first", second, "second"]
    # What failed is not told to the LLM later on.
    assert [turn["content"] for turn in llm.asked[-1]][1:] == [first, "first", second]
    assert await Counted.by(app, llm) - before == Counted(1, 1, 2 * ATTEMPTS, 1, 2, 0)


@pytest.mark.parametrize(
    ("trouble", "attempts", "told"),
    [
        pytest.param(
            Trouble(500),
            ATTEMPTS,
            envelope("http_error", "the LLM answered with status 500", status=500),
            id="it fails",
        ),
        pytest.param(
            Trouble(401),
            1,
            envelope("http_error", "the LLM answered with status 401", status=401),
            id="it does not know us",
        ),
        pytest.param(
            Trouble(429, {"Retry-After": "3600"}),
            1,
            envelope("rate_limit", "the LLM limits the rate of calls", status=429),
            id="it wants an hour of peace",
        ),
        pytest.param(
            "silent", 1, envelope("timeout", "the LLM did not answer in time"), id="it hangs"
        ),
    ],
)
async def test_what_the_llm_suffers_is_told(
    app: AppProcess,
    llm: LLMServer,
    trouble: Trouble | str,
    attempts: int,
    told: dict[str, Any],
) -> None:
    before = await Counted.by(app, llm)
    if isinstance(trouble, Trouble):
        llm.trouble = trouble
    llm.is_silent = trouble == "silent"

    failed, streamed = await asyncio.gather(app.chat(plan()), app.stream(plan()))

    assert (failed.status_code, failed.json()) == (502, told)
    name, data = streamed[-1]
    assert (name, data["type"], data["message"]) == ("error", "LLM_ERROR", told["message"])
    assert told["details"].items() <= data.items()
    now = await Counted.by(app, llm) - before
    assert now == Counted(2 * attempts, 0, 2 * attempts, 0, 2, 0)
    llm.recover()
    assert (await app.chat(plan(answer="well again"))).json()["response"] == "well again"


@pytest.mark.parametrize("route", ["whole", "streamed"])
async def test_an_answer_that_breaks_off_is_no_answer(
    app: AppProcess, llm: LLMServer, route: str
) -> None:
    before = await Counted.by(app, llm)
    llm.breaks_off = True

    if route == "whole":
        failed = await app.chat(plan(answer="half of it"))
        assert (failed.status_code, failed.json()["error"]) == (502, "LLM_ERROR")
    else:
        names = [name for name, _ in await app.stream(plan(answer="half of it"))]
        # What was read is not said twice: there is no second attempt.
        assert names == ["status", "status", "token", "error"]

    now = await Counted.by(app, llm) - before
    assert (now.seen_by_llm, now.unanswered, now.sessions) == (now.failed, 1, 0)
    llm.recover()
    assert (await app.chat(plan(answer="all of it"))).json()["response"] == "all of it"


async def test_an_llm_that_fails_in_the_middle_takes_no_result_back(
    app: AppProcess, llm: LLMServer
) -> None:
    llm.trouble = Trouble(401, good_first=1)

    heard = await app.stream(plan([READ]))

    outputs = [data["output"] for name, data in heard if name == "tool_result"]
    assert outputs == ["alpha\nbeta\ngamma"]
    assert heard[-1][0] == "error"


async def test_a_storm_of_refusals_passes_and_all_are_answered(
    app: AppProcess, llm: LLMServer
) -> None:
    refusals, wait_seconds = CHATS + 6, 0.2
    before = await Counted.by(app, llm)
    refused_before = await app.total("errors_total", error_type="rate_limit", component="llm")
    llm.trouble = Trouble(429, {"Retry-After": str(wait_seconds)}, times=refusals)

    answers = await many(app)

    assert [answer.status_code for answer in answers] == [200] * CHATS
    said = [answer.json()["response"] for answer in answers]
    assert said == [f"answer {number}" for number in range(CHATS)]
    calls = 2 * CHATS
    assert await Counted.by(app, llm) - before == Counted(
        calls + refusals, calls, refusals, CHATS, 0, CHATS
    )
    refused = await app.total("errors_total", error_type="rate_limit", component="llm")
    assert refused - refused_before == refusals
    # Every chat waited as long as it was told to, before it came back.
    times: dict[str, list[float]] = {}
    for messages, at in list(zip(llm.asked, llm.asked_at, strict=True))[int(before.seen_by_llm) :]:
        times.setdefault(messages[1]["content"], []).append(at)
    assert min(at[1] - at[0] for at in times.values()) >= wait_seconds


async def test_a_storm_of_refusals_that_does_not_pass_is_told_to_all(
    app: AppProcess, llm: LLMServer
) -> None:
    before = await Counted.by(app, llm)
    llm.trouble = Trouble(429)

    answers = await many(app)

    assert [answer.status_code for answer in answers] == [502] * CHATS
    assert {answer.json()["details"]["kind"] for answer in answers} == {"rate_limit"}
    calls = ATTEMPTS * CHATS
    assert await Counted.by(app, llm) - before == Counted(calls, 0, calls, 0, CHATS, 0)
    llm.recover()
    assert [answer.status_code for answer in await many(app)] == [200] * CHATS
