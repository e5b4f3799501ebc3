"""A chat ends in one of three ways, and is accounted for whichever way that is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply, ToolCall
from tests.target_app.scripted import ScriptedLLM, SilentLLM, Start, call

pytestmark = pytest.mark.anyio

BUSY = LLMError("rate_limit", "too many calls", 429)
DOWN = LLMError("http_error", "status 503", 503)
REFUSED = LLMError("http_error", "status 401", 401)


class BreaksOff:
    """Says one word of a streamed answer and is gone, as often as it is asked."""

    asked = 0

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        self.asked += 1
        assert on_token is not None
        await on_token("One")
        raise LLMError("connection", "the connection broke")


@pytest.mark.parametrize(
    ("turns", "status", "ending", "errors"),
    [
        pytest.param(["done"], 200, "success", {}, id="an answer"),
        pytest.param([[call("ls")]] * 2, 200, "max_iterations", {}, id="no answer in time"),
        pytest.param(
            [REFUSED],
            502,
            "error",
            {"errors_total component=llm error_type=http_error": 1.0},
            id="an LLM that refuses",
        ),
        pytest.param(
            [DOWN] * 3,
            502,
            "error",
            {"errors_total component=llm error_type=http_error": 3.0},
            id="an LLM that is down",
        ),
        pytest.param(
            [ZeroDivisionError()],
            500,
            "error",
            {"errors_total component=agent error_type=internal": 1.0},
            id="a fault of the app",
        ),
    ],
)
async def test_each_ending_is_counted_once(
    start: Start, turns: list[Any], status: int, ending: str, errors: dict[str, float]
) -> None:
    async with start(*turns, max_tool_iterations=2) as app:
        answer = await app.ask()
        completions = await app.series("agent_completions")
        durations = await app.series("agent_execution_duration_seconds_count")
        counted = await app.series("errors_total")

    assert answer.status_code == status
    assert completions == {f"agent_completions_total status={ending}": 1.0}
    assert durations == {f"agent_execution_duration_seconds_count status={ending}": 1.0}
    assert counted == errors


async def test_a_chat_that_is_given_up_is_an_error(start: Start) -> None:
    llm = SilentLLM()
    async with start(llm=llm) as app:
        asking = asyncio.ensure_future(app.ask(session_id="s"))
        await llm.asked.wait()
        asking.cancel()
        await asyncio.wait({asking})
        completions = await app.series("agent_completions")
        errors = await app.series("errors_total")
        sessions = await app.series("active_sessions")

    assert llm.given_up
    assert completions == {"agent_completions_total status=error": 1.0}
    assert errors == {"errors_total component=agent error_type=client_disconnected": 1.0}
    assert sessions == {}


async def test_a_storm_of_refusals_passes(start: Start) -> None:
    llm = ScriptedLLM([BUSY, [call("ls")], DOWN, BUSY, "done"])
    async with start(llm=llm) as app:
        answer = await app.ask()
        calls = await app.series("llm_calls_total")
        durations = await app.series("llm_call_duration_seconds_count")
        errors = await app.series("errors_total")
        completions = await app.series("agent_completions")

    body = answer.json()
    assert (body["response"], body["iterations"], body["llm_calls"]) == ("done", 2, 5)
    assert calls == {"llm_calls_total status=error": 3.0, "llm_calls_total status=success": 2.0}
    assert durations == {"llm_call_duration_seconds_count": 5.0}
    assert errors == {
        "errors_total component=llm error_type=http_error": 1.0,
        "errors_total component=llm error_type=rate_limit": 2.0,
    }
    assert completions == {"agent_completions_total status=success": 1.0}


async def test_each_attempt_is_a_generation_of_its_own(start: Start) -> None:
    async with start(BUSY, "done", langfuse_enabled=True) as app:
        await app.ask()
    spans = app.spans.get_finished_spans()

    level = "langfuse.observation.level"
    message = "langfuse.observation.status_message"
    generations = [span.attributes for span in spans if span.name == "llm"]
    assert [(span.get(level), span.get(message)) for span in generations] == [
        ("ERROR", "too many calls"),
        (None, None),
    ]
    assert [span.name for span in spans if span.attributes.get(level) == "ERROR"] == ["llm"]


async def test_how_often_is_a_setting(start: Start) -> None:
    llm = ScriptedLLM([BUSY, "never said"])
    async with start(llm=llm, llm_max_attempts=1) as app:
        answer = await app.ask()

    assert (answer.status_code, len(llm.prompts)) == (502, 1)


async def test_a_stream_that_broke_off_is_not_begun_again(start: Start) -> None:
    llm = BreaksOff()
    async with start(llm=llm) as app:
        events = await app.stream()

    assert [data["content"] for name, data in events if name == "token"] == ["One"]
    assert events[-1][0] == "error"
    assert llm.asked == 1


@pytest.mark.parametrize(
    ("made", "told"),
    [
        pytest.param(ToolCall("1", "", "{}"), "there is no tool ''", id="no name"),
        pytest.param(ToolCall("1", "rm", "{}"), "there is no tool 'rm'", id="an unknown name"),
        pytest.param(ToolCall("", "cat", "not JSON"), "bad arguments for cat", id="not JSON"),
        pytest.param(ToolCall("1", "cat", "null"), "bad arguments for cat", id="null"),
        pytest.param(ToolCall("1", "cat", "[1]"), "bad arguments for cat", id="a list"),
        pytest.param(
            ToolCall("1", "cat", '{"path":'), "bad arguments for cat", id="half an object"
        ),
        pytest.param(
            ToolCall("1", "cat", '{"path":"' + "x" * 1_000_000 + '"}'),
            "the arguments have 1000011 characters",
            id="a megabyte",
        ),
    ],
)
async def test_a_malformed_call_is_the_llms_to_mend(
    start: Start, made: ToolCall, told: str
) -> None:
    llm = ScriptedLLM([[made], "I was wrong."])
    async with start(llm=llm) as app:
        answer = await app.ask()
        executions = await app.series("tool_executions_total")

    assert (answer.status_code, answer.json()["response"]) == (200, "I was wrong.")
    assert len(answer.content) < 30_000
    assert llm.prompts[1].messages[-1]["content"].startswith(f"Error: {told}")
    assert sum(executions.values()) == 1.0


async def test_too_many_calls_are_answered_and_only_some_are_run(start: Start) -> None:
    llm = ScriptedLLM([[call("ls")] * 40, "done"])
    async with start(llm=llm) as app:
        answer = await app.ask()
        executions = await app.series("tool_executions_total")

    results = answer.json()["tool_results"]
    assert [result["result"]["success"] for result in results] == [True] * 32 + [False] * 8
    assert len({result["tool_call_id"] for result in results}) == 40
    assert executions == {
        "tool_executions_total status=success tool_name=ls": 32.0,
        "tool_executions_total status=error tool_name=ls": 8.0,
    }


async def test_sequential_execution_is_a_setting(start: Start) -> None:
    turns = [[call("ls"), call("find")], "done"]
    async with start(*turns, parallel_execution=False) as app:
        await app.ask()
        sequential = await app.series("sequential_tool")
        parallel = await app.series("parallel_tool")
        waits = await app.series("tool_semaphore_wait_seconds_count")

    assert sequential == {"sequential_tool_executions_total": 2.0}
    assert parallel == {}
    assert waits == {"tool_semaphore_wait_seconds_count": 2.0}


async def test_a_failed_chat_is_not_remembered(start: Start) -> None:
    llm = ScriptedLLM(["first", REFUSED, "third"])
    async with start(llm=llm) as app:
        for message in ("one", "two", "three"):
            await app.ask(message, session_id="s")

    assert [m["content"] for m in llm.prompts[2].messages[1:]] == ["one", "first", "three"]


async def test_sessions_are_bounded_by_the_settings(start: Start) -> None:
    async with start(*["done"] * 3, max_sessions=2) as app:
        for _ in range(3):
            await app.ask()
        sessions = await app.series("active_sessions")

    assert sessions == {"active_sessions_total": 2.0}


async def test_a_failure_of_the_llm_is_in_the_log(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with start(REFUSED) as app:
        await app.ask()

    assert "a chat failed: status 401; is the key right?" in caplog.messages
