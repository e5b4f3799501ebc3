"""One line for each request, chat, LLM call and tool call, and none for the steps between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from target_app.agent.llm import LLMError
from target_app.agent.messages import Usage
from target_app.observability.log_sink import LogSink
from target_app.observability.logs import configure_logs
from target_app.observability.redaction import Redactor
from target_app.observability.spans import Details, Kind, Origin, Span, Telling
from tests.target_app.observability.capturing import Lines, captured_logs
from tests.target_app.scripted import ScriptedLLM, Start, call

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01", "baggage": "run=r1,scenario=warm_cache"}
ORIGIN = Origin(TRACE, PARENT, "s1", ("run:r1",), "/api/chat")


@pytest.fixture
def written() -> Iterator[Lines]:
    with captured_logs() as lines:
        configure_logs(None, Redactor())
        yield lines


def root(kind: Kind = "agent", name: str = "chat", **details: Any) -> Span:
    telling = Telling(Redactor(), lambda _: None)
    shown: Details = telling.redacted(details)  # type: ignore[arg-type]
    return Span([LogSink().root(kind, name, shown, ORIGIN)], telling)


def told(lines: Lines) -> list[dict[str, Any]]:
    """Take the lines without what is different each time."""
    found = [json.loads(line) for line in lines()]
    for line in found:
        assert line.pop("timestamp")
        assert line.pop("duration_seconds") >= 0
        assert len(line.pop("span_id")) == 16
        assert line.pop("logger") == "target_app.io"
    return found


SHARED = {"trace_id": TRACE, "session_id": "s1", "route": "/api/chat", "tags": ["run:r1"]}


def test_a_chat(written: Lines) -> None:
    with root(input="ask zoe@example.com") as span:
        span.update(output={"answer": "done", "ending": "success", "iterations": 2, "tokens": 9})

    assert told(written) == [
        {
            **SHARED,
            "level": "info",
            "event": "chat",
            "parent_span_id": PARENT,
            "input": "ask [e-mail]",
            "output": "done",
            "ending": "success",
            "iterations": 2,
            "tokens": 9,
        }
    ]


def test_a_failure_is_a_line_of_its_level(written: Lines) -> None:
    with root(input="x") as span:
        span.fail("the LLM said: no, zoe@example.com")

    (line,) = told(written)
    assert (line["level"], line["error"]) == ("error", "the LLM said: no, [e-mail]")


def test_an_llm_call_tells_how_many_messages_there_were_and_not_all_of_them(
    written: Lines,
) -> None:
    messages = [{"role": "user", "content": f"question {n}"} for n in range(7)]
    with root() as chat:
        span = chat.child(
            "generation",
            "llm",
            model="gpt-x",
            input=messages,
            model_parameters={"stream": True},
            metadata={"tools_offered": 3},
        )
        span.first_token()
        span.update(
            model="gpt-x-2",
            output={"content": "x" * 1200, "tool_calls": [{"name": "ls", "arguments": "{}"}]},
            usage=Usage(input=80, cached_input=20, output=7, reasoning=3),
            usage_estimated=True,
        )
        span.end()

    line = told(written)[0]
    assert 0 <= line.pop("time_to_first_token") < 10
    assert len(line.pop("parent_span_id")) == 16
    assert line == {
        **SHARED,
        "level": "info",
        "event": "llm_call",
        "model": "gpt-x-2",
        "model_parameters": {"stream": True},
        "messages": 7,
        "tools_offered": 3,
        # Cut once, by the span: the log does not cut it again.
        "content": "x" * 1000 + "... (1200 characters)",
        "tool_calls": [{"name": "ls", "arguments": "{}"}],
        "usage": {"input": 80, "cached_input": 20, "output": 7, "reasoning": 3, "total": 110},
        "usage_estimated": True,
    }


def test_a_tool_call(written: Lines) -> None:
    with root() as chat:
        tool = chat.child("tool", "grep", input='{"pattern": "zoe@example.com"}')
        tool.update(
            output={"success": False, "output_length": 0, "cache_hit": True, "return_code": 1}
        )
        tool.fail("nothing found")
        tool.end()

    line = told(written)[0]
    assert len(line.pop("parent_span_id")) == 16
    assert line == {
        **SHARED,
        "level": "error",
        "event": "tool",
        "name": "grep",
        "arguments": '{"pattern": "[e-mail]"}',
        "success": False,
        "output_length": 0,
        "cache_hit": True,
        "return_code": 1,
        "error": "nothing found",
    }


def test_a_request(written: Lines) -> None:
    with root("server", "GET") as span:
        span.update(metadata={"method": "GET", "route": "/x/{id}", "status": 404})
        span.update(metadata={"request_bytes": 0, "response_bytes": 17})

    (line,) = told(written)
    assert line == {
        **SHARED,
        "route": "/x/{id}",
        "level": "info",
        "event": "request",
        "parent_span_id": PARENT,
        "method": "GET",
        "status": 404,
        "request_bytes": 0,
        "response_bytes": 17,
    }


def test_steps_have_no_line_and_parents_are_spans_that_have_one(written: Lines) -> None:
    with root() as chat:
        step = chat.child("span", "iteration 1")
        step.child("generation", "llm").end()
        turn = step.child("span", "tool-execution")
        tool = turn.child("tool", "ls")
        assert tool.headers()["traceparent"].split("-")[2] not in turn.headers()["traceparent"]
        assert turn.headers() == step.headers() == chat.headers()
        tool.end()
        turn.end()
        step.end()

    lines = [json.loads(line) for line in written()]
    assert [line["event"] for line in lines] == ["llm_call", "tool", "chat"]
    llm, tool_line, chat_line = lines
    assert llm["parent_span_id"] == tool_line["parent_span_id"] == chat_line["span_id"]
    assert [line.get("step") for line in lines] == ["iteration 1", "iteration 1", None]


@pytest.mark.anyio
@pytest.mark.parametrize("profile", ["minimal", "hybrid"])
async def test_a_chat_of_the_app_in_its_log(start: Start, profile: str) -> None:
    llm = ScriptedLLM([[call("grep", pattern="alpha"), call("ls")], "It is in readme.md."])
    with captured_logs() as lines:
        async with start(llm=llm, observability_profile=profile, log_format="json") as app:
            answer = await app.ask("where is alpha?", session_id="s1", headers=HEADERS)
            await app.client.get("/nowhere/zoe@example.com")
        found = [json.loads(line) for line in lines()]

    assert answer.status_code == 200
    told = [line for line in found if line["logger"] == "target_app.io"]
    chat_lines = [line for line in told if line["trace_id"] == TRACE]
    assert sorted(line["event"] for line in chat_lines) == [
        "chat", "llm_call", "llm_call", "request", "tool", "tool",
    ]  # fmt: skip
    by_event = {line["event"]: line for line in chat_lines}
    assert by_event["chat"]["input"] == "where is alpha?"
    assert by_event["chat"]["output"] == "It is in readme.md."
    assert by_event["chat"]["ending"] == "success"
    assert by_event["chat"]["parent_span_id"] == by_event["request"]["span_id"]
    assert by_event["request"]["parent_span_id"] == PARENT
    assert (by_event["request"]["status"], by_event["request"]["route"]) == (200, "/api/chat")
    assert {line["session_id"] for line in chat_lines} == {"s1"}
    assert {line["route"] for line in chat_lines} == {"/api/chat"}
    assert {tuple(line["tags"]) for line in chat_lines} == {("run:r1", "scenario:warm_cache")}
    tools = {line["name"]: line for line in chat_lines if line["event"] == "tool"}
    assert tools["grep"]["arguments"] == '{"pattern": "alpha"}'
    assert (tools["grep"]["success"], tools["grep"]["cache_hit"]) == (True, False)
    calls = [line for line in chat_lines if line["event"] == "llm_call"]
    assert [line["messages"] for line in calls] == [2, 5]
    # No raw path: it could hold anything.
    (missing,) = (line for line in told if line.get("status") == 404)
    assert missing["route"] == "unmatched"
    assert not any("nowhere" in json.dumps(line) for line in told)


@pytest.mark.anyio
async def test_the_line_of_a_failed_chat_names_its_request_and_session(start: Start) -> None:
    with captured_logs() as lines:
        async with start(LLMError("timeout", "too slow"), log_format="json") as app:
            await app.ask(session_id="s1", headers=HEADERS)
        found = [json.loads(line) for line in lines()]

    (line,) = (line for line in found if line["event"] == "a chat failed: too slow")
    assert (line["trace_id"], line["session_id"], line["route"]) == (TRACE, "s1", "/api/chat")


@pytest.mark.anyio
async def test_the_other_profiles_write_no_such_lines(start: Start) -> None:
    with captured_logs() as lines:
        for profile in ("ai", "off"):
            async with start("done", observability_profile=profile, log_format="json") as app:
                await app.ask()
        assert not any(json.loads(line)["logger"] == "target_app.io" for line in lines())
