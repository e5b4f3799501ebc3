"""The chat routes: answers, events, errors, and what is counted of each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply
from tests.target_app.scripted import CALL_USAGE, ScriptedLLM, SilentLLM, Start, call

pytestmark = pytest.mark.anyio


def posted(path: str) -> dict[str, Any]:
    """Make the scope of a request as a server would, to play the server's part."""
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }


async def test_an_answer_says_how_it_was_found(start: Start) -> None:
    turns = [[call("cat", path="teams/red.txt"), call("ls", path="missing")], "beta"]
    async with start(*turns) as app:
        answer = await app.ask("what does red ship?", session_id="s-1")

    assert (answer.status_code, answer.json()) == (
        200,
        {
            "response": "beta",
            "session_id": "s-1",
            "tool_calls": [
                {"id": "call-cat", "name": "cat", "arguments": '{"path": "teams/red.txt"}'},
                {"id": "call-ls", "name": "ls", "arguments": '{"path": "missing"}'},
            ],
            "tool_results": [
                {
                    "tool_call_id": "call-cat",
                    "tool_name": "cat",
                    "result": {
                        "success": True,
                        "stdout": "Red ships beta",
                        "stderr": "",
                        "return_code": 0,
                        "command": "cat teams/red.txt",
                        "error": None,
                    },
                },
                {
                    "tool_call_id": "call-ls",
                    "tool_name": "ls",
                    "result": {
                        "success": False,
                        "stdout": "",
                        "stderr": "missing: no such file or folder",
                        "return_code": 1,
                        "command": "ls missing",
                        "error": "missing: no such file or folder",
                    },
                },
            ],
            "iterations": 2,
            "llm_calls": 2,
            "usage": {"input_tokens": 200, "output_tokens": 20, "total_tokens": 220},
        },
    )


async def test_a_chat_is_counted_at_every_seam(start: Start) -> None:
    turns = [
        [call("grep", pattern="alpha"), call("cat", path="missing")],
        [call("ls")],
        "done",
    ]
    async with start(*turns) as app:
        await app.ask()

        assert await app.series("http_requests") == {
            "http_requests_total endpoint=/api/chat method=POST status=200": 1
        }
        assert await app.series("agent_completions") == {
            "agent_completions_total status=success": 1
        }
        assert await app.series("agent_iterations") == {
            "agent_iterations_total_count": 1,
            "agent_iterations_total_sum": 3,
        }
        assert await app.series("llm_calls") == {"llm_calls_total status=success": 3}
        assert await app.series("llm_tokens_total") == {
            "llm_tokens_total type=input": 300,
            "llm_tokens_total type=output": 30,
            "llm_tokens_total type=total": 330,
        }
        assert await app.series("llm_call_duration_seconds_count") == {
            "llm_call_duration_seconds_count": 3
        }
        assert await app.series("tool_executions") == {
            "tool_executions_total status=error tool_name=cat": 1,
            "tool_executions_total status=success tool_name=grep": 1,
            "tool_executions_total status=success tool_name=ls": 1,
        }
        assert await app.series("parallel") == {"parallel_tool_executions_total": 2}
        assert await app.series("sequential") == {"sequential_tool_executions_total": 1}
        assert await app.series("sandbox_executions") == {
            "sandbox_executions_total command=cat status=error": 1,
            "sandbox_executions_total command=grep status=success": 1,
            "sandbox_executions_total command=ls status=success": 1,
        }
        assert await app.series("cache_operations") == {
            "cache_operations_total cache_type=content operation=get result=miss": 1,
            "cache_operations_total cache_type=content operation=set result=hit": 1,
            "cache_operations_total cache_type=search operation=get result=miss": 2,
            "cache_operations_total cache_type=search operation=set result=hit": 2,
        }
        assert await app.series("session_messages") == {
            "session_messages_total_count": 1,
            "session_messages_total_sum": 2,
        }
        assert await app.series("active_sessions") == {"active_sessions_total": 1}
        # A thread of its own writes them to the disk, some time soon.
        entries = await app.series("cache_entries")
        entries.pop("cache_entries_total cache_type=disk", None)
        assert entries == {
            "cache_entries_total cache_type=content": 1,
            "cache_entries_total cache_type=search": 2,
        }
        assert await app.series("errors") == {}


def edit_in_disguise(file: Path) -> None:
    before = file.stat()
    file.write_text(file.read_text().replace("alpha", "omega"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("change", "results", "invalidations"),
    [
        pytest.param(lambda _: None, {"hit": 1.0, "miss": 1.0}, {}, id="nothing"),
        pytest.param(
            lambda root: (root / "readme.md").write_text("x"),
            {"miss": 2.0},
            {"file_change": 1.0},
            id="edit",
        ),
        pytest.param(
            lambda root: edit_in_disguise(root / "readme.md"),
            {"miss": 2.0},
            {"file_change": 1.0},
            id="edit of the same size with the time restored",
        ),
        pytest.param(
            lambda root: (root / "new.md").write_text("x"),
            {"miss": 2.0},
            {"directory_change": 1.0},
            id="create",
        ),
        pytest.param(
            lambda root: (root / "readme.md").unlink(),
            {"miss": 2.0},
            {"directory_change": 1.0},
            id="delete",
        ),
        pytest.param(
            lambda root: (root / "readme.md").rename(root / "renamed.md"),
            {"miss": 2.0},
            {"directory_change": 1.0},
            id="rename",
        ),
    ],
)
async def test_the_same_search_after(
    start: Start,
    documents: Path,
    change: Callable[[Path], object],
    results: dict[str, float],
    invalidations: dict[str, float],
) -> None:
    search = [call("grep", pattern="alpha")]
    async with start(search, "one", search, "two") as app:
        await app.ask()
        change(documents)
        await app.ask()

        assert await app.series("cache_operations_total") == {
            f"cache_operations_total cache_type=search operation=get result={result}": count
            for result, count in results.items()
        } | {"cache_operations_total cache_type=search operation=set result=hit": results["miss"]}
        assert await app.series("cache_invalidations") == {
            f"cache_invalidations_total cache_type=search reason={reason}": count
            for reason, count in invalidations.items()
        }


async def test_without_room_for_a_cache_every_get_is_a_miss(start: Start) -> None:
    read = [call("cat", path="readme.md"), call("find")]
    nothing = {"cache_size_limit": 0, "cache_memory_limit": 0}
    async with start(read, "one", read, "two", **nothing) as app:
        await app.ask()
        await app.ask()

        assert await app.series("cache_operations_total") == {
            f"cache_operations_total cache_type={name} operation={operation} result=miss": 2
            for name in ("content", "search")
            for operation in ("get", "set")
        }


@pytest.mark.parametrize(
    ("asked", "block"),
    [
        pytest.param(call("cat", path="../secret.txt"), "path_traversal", id="traversal"),
        pytest.param(call("rm", path="."), "command_not_allowed", id="no such command"),
        pytest.param(call("cat", path="readme.md"), "file_too_large", id="too large"),
    ],
)
async def test_what_the_sandbox_blocks_is_counted(start: Start, asked: Any, block: str) -> None:
    async with start([asked], "no", max_file_size=5) as app:
        answer = await app.ask()

        assert "the secret" not in answer.text
        assert await app.series("sandbox_security_blocks") == {
            f"sandbox_security_blocks_total block_type={block}": 1
        }
        assert await app.series("errors") == {
            f"errors_total component=sandbox error_type={block}": 1
        }


async def test_a_timeout_is_counted(start: Start) -> None:
    async with start([call("grep", pattern="a")], "no", command_timeout=1e-9) as app:
        await app.ask()

        assert await app.series("tool_executions") == {
            "tool_executions_total status=timeout tool_name=grep": 1
        }
        assert await app.series("sandbox_timeouts") == {"sandbox_timeouts_total command=grep": 1}
        assert await app.series("errors") == {
            "errors_total component=sandbox error_type=timeout": 1
        }


async def test_the_limit_of_iterations_is_an_honest_answer(start: Start) -> None:
    async with start(*[[call("ls")]] * 3, max_tool_iterations=3) as app:
        answer = (await app.ask()).json()

        assert answer["response"].startswith(
            "I stopped after 3 steps without reaching an answer: the limit of tool calls was "
            "reached. I ran 3 tool calls. What was found last:\n- ls .: readme.md teams/"
        )
        assert answer["iterations"] == 3
        assert await app.series("agent_completions") == {
            "agent_completions_total status=max_iterations": 1
        }


async def test_a_failing_llm_is_a_bad_gateway(start: Start) -> None:
    error = LLMError("http_error", "the LLM answered with status 500", 500)
    async with start(error, "hello", llm_max_attempts=1) as app:
        answer = await app.ask(session_id="s")
        again = await app.ask(session_id="s")

        assert (answer.status_code, answer.json()) == (
            502,
            {
                "error": "LLM_ERROR",
                "message": "the LLM answered with status 500",
                "details": {"kind": "http_error", "status": 500},
            },
        )
        assert again.json()["response"] == "hello"
        assert await app.series("http_requests") == {
            "http_requests_total endpoint=/api/chat method=POST status=502": 1,
            "http_requests_total endpoint=/api/chat method=POST status=200": 1,
        }
        assert await app.series("llm_calls") == {
            "llm_calls_total status=error": 1,
            "llm_calls_total status=success": 1,
        }
        assert await app.series("agent_completions") == {
            "agent_completions_total status=error": 1,
            "agent_completions_total status=success": 1,
        }
        assert await app.series("errors") == {
            "errors_total component=llm error_type=http_error": 1
        }


async def test_a_fault_of_the_app_is_a_500_that_tells_nothing(start: Start) -> None:
    async with start(RuntimeError("the key is 123")) as app:
        answer = await app.ask()

        assert (answer.status_code, answer.json()) == (
            500,
            {
                "error": "INTERNAL_ERROR",
                "message": "the app failed; its log says why",
                "details": {},
            },
        )
        assert await app.series("http_requests") == {
            "http_requests_total endpoint=/api/chat method=POST status=500": 1
        }
        assert await app.series("errors") == {
            "errors_total component=agent error_type=internal": 1
        }


@pytest.mark.parametrize(
    ("body", "details"),
    [
        pytest.param({}, {"body.message": "Field required"}, id="no message"),
        pytest.param(
            {"message": ""},
            {"body.message": "String should have at least 1 character"},
            id="an empty message",
        ),
        pytest.param(
            {"message": "x" * 4097},
            {"body.message": "String should have at most 4096 characters"},
            id="a message too long",
        ),
        pytest.param(
            {"message": "x", "session_id": "../etc"},
            {"body.session_id": "String should match pattern '^[A-Za-z0-9_-]{1,64}$'"},
            id="a strange session",
        ),
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_an_invalid_request(
    start: Start, path: str, body: dict[str, Any], details: dict[str, str]
) -> None:
    async with start() as app:
        answer = await app.client.post(path, json=body)

    assert (answer.status_code, answer.json()) == (
        422,
        {"error": "VALIDATION_ERROR", "message": "the request is not valid", "details": details},
    )


async def test_a_session_goes_on_where_it_was(start: Start) -> None:
    llm = ScriptedLLM(["first answer", "second answer"])
    async with start(llm=llm) as app:
        session = (await app.ask("first question")).json()["session_id"]
        again = await app.ask("second question", session_id=session)

    assert again.json()["session_id"] == session
    assert llm.prompts[1].messages[1:] == [
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "first answer"},
        {"role": "user", "content": "second question"},
    ]


async def test_the_events_of_a_streamed_answer_come_in_order(start: Start) -> None:
    turns = [[call("ls", path="teams"), call("cat", path="none")], "It is"]
    async with start(*turns) as app:
        events = await app.stream()
        sessions = {data.pop("session_id") for _, data in events}

        assert len(sessions) == 1
        # Each result comes as soon as its tool has ended, whichever that is first.
        events[5:7] = sorted(events[5:7], key=lambda event: str(event[1]["name"]), reverse=True)
        assert events == [
            ("status", {"stage": "thinking", "message": "Reading the question"}),
            ("status", {"stage": "llm_call", "message": "Asking the LLM", "iteration": 1}),
            ("tool_call", {"id": "call-ls", "name": "ls", "arguments": '{"path": "teams"}'}),
            ("tool_call", {"id": "call-cat", "name": "cat", "arguments": '{"path": "none"}'}),
            ("status", {"stage": "executing_tools", "message": "Running tools", "tool_count": 2}),
            (
                "tool_result",
                {"id": "call-ls", "name": "ls", "success": True, "output": "blue.txt\nred.txt"},
            ),
            (
                "tool_result",
                {
                    "id": "call-cat",
                    "name": "cat",
                    "success": False,
                    "output": "none: no such file or folder",
                },
            ),
            ("status", {"stage": "llm_call", "message": "Asking the LLM", "iteration": 2}),
            ("token", {"content": "It"}),
            ("token", {"content": "is"}),
            ("usage", {"input_tokens": 200, "output_tokens": 20, "total_tokens": 220}),
            (
                "done",
                {"message": "It is", "tool_calls_count": 2, "iterations": 2, "llm_calls": 2},
            ),
        ]
        assert await app.series("http_requests") == {
            "http_requests_total endpoint=/api/chat/stream method=POST status=200": 1
        }


@dataclass
class PatientLLM:
    """Answers as soon as it is allowed to."""

    allowed: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        await self.allowed.wait()
        return Reply("at last", (), CALL_USAGE, "patient-1")


async def test_an_answer_that_takes_long_keeps_its_connection(start: Start) -> None:
    llm = PatientLLM()
    body = b""
    async with start(llm=llm, stream_heartbeat_seconds=0.001) as app:
        parts = [{"type": "http.request", "body": b'{"message": "hello"}'}]

        async def receive() -> Any:
            if not parts:
                await asyncio.Event().wait()
            return parts.pop()

        async def send(message: Any) -> None:
            nonlocal body
            body += message.get("body", b"")
            if body.count(b": heartbeat\n\n") == 3:
                llm.allowed.set()

        await asyncio.wait_for(app.app(posted("/api/chat/stream"), receive, send), 10)

    assert body.count(b": heartbeat\n\n") >= 3
    assert b'event: done\ndata: {"message": "at last"' in body


async def test_a_streamed_answer_that_fails_ends_with_an_error(start: Start) -> None:
    async with start(LLMError("timeout", "the LLM did not answer in time")) as app:
        events = await app.stream()
        name, data = events[-1]
        data.pop("session_id")

    assert [name for name, _ in events] == ["status", "status", "error"]
    assert (name, data) == (
        "error",
        {"message": "the LLM did not answer in time", "type": "LLM_ERROR", "kind": "timeout"},
    )


async def test_a_streamed_answer_that_breaks_the_app_ends_with_an_error_and_a_log_line(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with start(RuntimeError("the key is 123")) as app:
        name, data = (await app.stream())[-1]

        assert (name, data["message"]) == ("error", "the app failed; its log says why")
        assert "a stream of events failed" in caplog.messages
        assert await app.series("agent_completions") == {"agent_completions_total status=error": 1}


async def test_a_reader_that_falls_far_behind_and_leaves_ends_its_chat(start: Start) -> None:
    async with start("word " * 1000) as app:
        left = asyncio.Event()

        async def receive() -> Any:
            if not left.is_set():
                left.set()
                return {"type": "http.request", "body": b'{"message": "hello"}'}
            for _ in range(2000):  # by then the chat waits for its reader
                await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            await asyncio.Event().wait()

        await asyncio.wait_for(app.app(posted("/api/chat/stream"), receive, send), 10)
        for _ in range(10):
            await asyncio.sleep(0)

        assert not [task for task in asyncio.all_tasks() if "Channel.run" in repr(task)]
        assert await app.series("http_requests") == {
            "http_requests_total endpoint=/api/chat/stream method=POST status=aborted": 1
        }


async def test_a_long_tool_output_is_cut_in_its_event(start: Start, documents: Path) -> None:
    (documents / "long").write_text("x" * 3000)
    async with start([call("cat", path="long")], "done") as app:
        events = await app.stream()

    output = next(data["output"] for name, data in events if name == "tool_result")
    assert output == "x" * 1000 + "..."


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
async def test_a_client_that_leaves_ends_its_chat(start: Start, path: str) -> None:
    llm = SilentLLM()
    body = b'{"message": "hello"}'
    async with start(llm=llm) as app:
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            if parts:
                return parts.pop()
            await llm.asked.wait()
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            pass

        await asyncio.wait_for(app.app(posted(path), receive, send), 10)

        assert llm.given_up
        assert await app.series("http_requests") == {
            f"http_requests_total endpoint={path} method=POST status=aborted": 1
        }
        assert await app.series("agent_completions") == {"agent_completions_total status=error": 1}
        assert await app.series("llm_calls") == {"llm_calls_total status=error": 1}
        assert await app.series("errors") == {
            "errors_total component=agent error_type=client_disconnected": 1
        }
