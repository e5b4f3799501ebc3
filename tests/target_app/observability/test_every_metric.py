"""Every way through the app moves the metrics that it should, by as much as it should, only."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply, ToolCall
from target_app.agent.tools import TOOLS, CacheType
from target_app.cache.database import FILE_NAME
from target_app.cache.results import Made
from target_app.cache.state import State
from target_app.observability import process
from target_app.observability.metrics import Metrics
from target_app.sandbox.result import Execution
from target_app.sandbox.run import not_run
from tests.target_app.exposition import Series, exposition, series_name
from tests.target_app.scripted import (
    CALL_USAGE,
    CALL_USD,
    RunningApp,
    SilentLLM,
    Start,
    call,
)

pytestmark = pytest.mark.anyio

TIMEOUT = LLMError("timeout", "the LLM did not answer in time")
CONNECTION = LLMError("connection", "the connection to the LLM failed")
BUSY = LLMError("rate_limit", "the LLM limits the rate of calls", 429)
DOWN = LLMError("http_error", "the LLM answered with status 500", 500)
BROKEN = LLMError("broken_answer", "the LLM's answer broke off or is malformed")

CAT = call("cat", path="readme.md")
GREP = call("grep", pattern="alpha")
LS = call("ls")

TEXT = "alpha\nbeta\ngamma"
LISTED = "readme.md\nteams/"
FOUND = "readme.md:1:alpha\nteams/blue.txt:1:Blue keeps alpha running"
TREE = "./\n  readme.md\n  teams/\n    blue.txt\n    red.txt"

OUTPUTS: dict[str, tuple[dict[str, str], str | int]] = {
    "ls": ({}, LISTED),
    "find": ({}, "readme.md\nteams\nteams/blue.txt\nteams/red.txt"),
    "grep": ({"pattern": "alpha"}, FOUND),
    "cat": ({"path": "readme.md"}, TEXT),
    "head": ({"path": "readme.md"}, TEXT),
    "tail": ({"path": "readme.md"}, TEXT),
    "tree": ({}, TREE),
    "wc": ({"path": "readme.md"}, "3 3 17 readme.md"),
    # Size and time, and the text.
    "preview": ({"path": "readme.md"}, 88),
    "smart_read": ({"path": "readme.md"}, TEXT),
}
"""What each tool answers to which arguments, as a text or as its length."""

ELSEWHERE = re.compile(
    # What varies from run to run: how long it took, and how much SQLite makes of it.
    r"\w+_seconds_sum|cache_disk_usage_bytes|process_\w+|event_loop_lag_seconds_count"
    # What other tests look at: sizes below, log lines in the tests of logs.
    r"|http_\w+_size_bytes_sum|cache_size_bytes|log_\w+"
)


# What one event of each kind moves.


def http(status: int | str = 200, route: str = "/api/chat", method: str = "POST") -> Series:
    labels = f"endpoint={route} method={method}"
    return {
        f"http_requests_total {labels} status={status}": 1,
        f"http_request_duration_seconds_count {labels}": 1,
        f"http_request_size_bytes_count {labels}": 1,
        f"http_response_size_bytes_count {labels}": 1,
    }


def chat(ending: str = "success", iterations: int = 1) -> Series:
    """
    A chat that ended so, and is not traced.

    Only one with an answer is remembered in its session.
    """
    moves: Series = {
        "traces_total result=switched_off": 1,
        f"agent_completions_total status={ending}": 1,
        f"agent_execution_duration_seconds_count status={ending}": 1,
        "agent_iterations_total_count": 1,
        "agent_iterations_total_sum": iterations,
    }
    if ending == "error":
        return moves
    return moves | {
        "session_messages_total_count": 1,
        "session_messages_total_sum": 2,
        "active_sessions_total": 1,
    }


def llm_calls(count: int = 1) -> Series:
    """Calls that were answered, each with the usage of the scripted LLM."""
    return llm_tokens(count) | {
        "llm_calls_total status=success": count,
        "llm_call_duration_seconds_count": count,
    }


def llm_tokens(count: int = 1) -> Series:
    moves: Series = {"llm_cost_usd_total model=scripted": pytest.approx(count * CALL_USD)}
    for kind, tokens in (("input", 100), ("output", 10), ("total", 110)):
        moves |= {
            f"llm_tokens_total type={kind}": count * tokens,
            f"llm_tokens_per_request_count type={kind}": count,
            f"llm_tokens_per_request_sum type={kind}": count * tokens,
        }
    return moves


def llm_failures(kind: str, count: int = 1) -> Series:
    return {
        "llm_calls_total status=error": count,
        "llm_call_duration_seconds_count": count,
        f"errors_total component=llm error_type={kind}": count,
    }


def tool(name: str, status: str = "success", count: int = 1) -> Series:
    return {
        f"tool_executions_total status={status} tool_name={name}": count,
        f"tool_execution_duration_seconds_count tool_name={name}": count,
        "tool_semaphore_wait_seconds_count": count,
    }


ALONE: Series = {"sequential_tool_executions_total": 1}


def command(name: str, output: str | int, status: str = "success") -> Series:
    size = output if isinstance(output, int) else len(output)
    moves: Series = {
        f"sandbox_wait_seconds_count command={name}": 1,
        f"sandbox_executions_total command={name} status={status}": 1,
        f"sandbox_execution_duration_seconds_count command={name}": 1,
        f"sandbox_output_size_bytes_count command={name}": 1,
    }
    return moves | ({f"sandbox_output_size_bytes_sum command={name}": size} if size else {})


def stopped(name: str) -> Series:
    """A command that did not end in time."""
    timeouts: Series = {f"sandbox_timeouts_total command={name}": 1}
    return total(command(name, 0, "timeout"), timeouts, error("timeout"))


def cache(operation: str, cache_type: str, result: str, count: int = 1) -> Series:
    labels = f"cache_type={cache_type} operation={operation}"
    return {
        f"cache_operations_total {labels} result={result}": count,
        f"cache_operation_duration_seconds_count {labels}": count,
    }


def missed(cache_type: str, reason: str = "absent") -> Series:
    return total(
        cache("get", cache_type, "miss"),
        {f"cache_misses_total cache_type={cache_type} reason={reason}": 1},
    )


def kept(cache_type: str, *, new: bool = True) -> Series:
    """A result that is kept: in memory and on disk, where it may replace another."""
    if not new:
        return cache("set", cache_type, "hit")
    entries: Series = {
        f"cache_entries_total cache_type={cache_type}": 1,
        "cache_entries_total cache_type=disk": 1,
    }
    return total(cache("set", cache_type, "hit"), entries)


def remembered(cache_type: str, count: int = 1) -> Series:
    return total(
        cache("get", cache_type, "hit", count),
        {f"cache_saved_seconds_total cache_type={cache_type}": SOME},
    )


def invalidated(cache_type: str, reason: str) -> Series:
    return {f"cache_invalidations_total cache_type={cache_type} reason={reason}": 1}


def error(kind: str, component: str = "sandbox") -> Series:
    return {f"errors_total component={component} error_type={kind}": 1}


def blocked(kind: str) -> Series:
    return total(error(kind), {f"sandbox_security_blocks_total block_type={kind}": 1})


class _Some:
    """Equal to any increase: for what takes as long as it takes."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and other > 0

    def __hash__(self) -> int:
        return 0


SOME: Any = _Some()


def total(*parts: Series) -> Series:
    moves: Series = {}
    for part in parts:
        for name, value in part.items():
            moves[name] = moves[name] + value if name in moves else value
    return moves


# What is done with the app.

Act = Callable[[RunningApp], Awaitable[Any]]


async def ask(app: RunningApp) -> None:
    await app.ask()


async def stream(app: RunningApp) -> None:
    await app.stream()


async def nothing(app: RunningApp) -> None:
    pass


def request(method: str, path: str, **more: Any) -> Act:
    async def send(app: RunningApp) -> None:
        await app.client.request(method, path, **more)

    return send


def hang_up(path: str, llm: SilentLLM) -> Act:
    """Ask, and close the connection once the LLM is being asked."""

    async def leave(app: RunningApp) -> None:
        body = [{"type": "http.request", "body": b'{"message": "q"}', "more_body": False}]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"app"), (b"content-type", b"application/json")],
            "server": ("app", 80),
            "client": ("127.0.0.1", 1),
        }

        async def receive() -> Any:
            if body:
                return body.pop()
            await llm.asked.wait()
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            pass

        await app.app(scope, receive, send)

    return leave


def edit(change: Callable[[Path], object]) -> Act:
    """Ask, change the documents and ask again; only the last is looked at."""

    async def changed(app: RunningApp) -> None:
        await app.ask()
        change(app.app.state.services.settings.data_root_path)

    return changed


def become_folder(root: Path) -> None:
    (root / "readme.md").unlink()
    (root / "readme.md").mkdir()


async def damage_disk(app: RunningApp) -> None:
    """Keep a result, and damage it on the disk; it is in memory no more."""
    services = app.app.state.services
    await app.ask()
    await asyncio.to_thread(services.disk.flush)
    with closing(sqlite3.connect(services.settings.cache_directory / FILE_NAME)) as database:
        database.execute("UPDATE payloads SET value = x'00'")
        database.commit()
    for cache in services.caches.values():
        cache._memory.clear()


async def break_disk(app: RunningApp) -> None:
    """Have the disk fail, as a full one does."""
    app.app.state.services.disk._fail(OSError("no space left"))


def instead(execution: Execution) -> Act:
    """Have the sandbox answer so, whatever is run."""

    async def put(app: RunningApp) -> None:
        sandbox = app.app.state.services.sandbox

        async def run(_: Any) -> Execution:
            return execution

        sandbox.run = run

    return put


async def restart(app: RunningApp) -> None:
    """Have a process of the sandbox replaced, as it is seen from outside."""
    app.app.state.services.sandbox.restarts = 1


def fill_cache(cache_type: CacheType) -> Act:
    """Keep two results where there is room for one, and one for which there is none."""

    async def fill(app: RunningApp) -> None:
        for name, size in (("a", 300), ("b", 300), ("c", 3000)):

            async def make(size: int = size) -> Made[Execution]:
                return Made(Execution("success"), keep=True, seconds=1.0, size_bytes=size)

            cache = app.app.state.services.caches[cache_type]
            await cache.answer(name, State(b"", b"", 0), make)

    return fill


async def empty_cache(app: RunningApp) -> None:
    await app.client.delete("/api/cache")


async def forget_session(app: RunningApp) -> None:
    await app.client.delete("/api/chat/sessions/s")


async def ask_in_session(app: RunningApp) -> None:
    await app.ask(session_id="s")


async def both_ask(app: RunningApp) -> None:
    await asyncio.gather(app.ask(), app.ask())


class StreamDies:
    """An LLM whose stream breaks off after a word, having told its tokens all the way."""

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        assert on_token is not None
        assert prompt.broke_off is not None
        await on_token("One")
        prompt.broke_off(Reply("One", (), CALL_USAGE, "scripted-1"))
        raise BROKEN


@dataclass(frozen=True)
class Case:
    """`act` moves `moves`, after `first`; the LLM says `turns`."""

    turns: Sequence[Any]
    moves: Series
    act: Act = ask
    first: Act = nothing
    settings: dict[str, Any] = field(default_factory=dict)


def tools(*calls: ToolCall, moves: Series, **more: Any) -> Case:
    """A chat of two LLM calls that uses tools in between."""
    whole = total(http(), chat(iterations=2), llm_calls(2), moves)
    return Case([list(calls), "done"], whole, **more)


def again(*calls: ToolCall, moves: Series, first: Act = ask, **settings: Any) -> Case:
    """The same chat a second time, of which only the second is looked at."""
    case = tools(*calls, moves=moves, first=first, settings=settings)
    return replace(case, turns=[*case.turns, *case.turns])


def left(path: str) -> Case:
    """A client that closes its connection while the LLM thinks."""
    llm = SilentLLM()
    moves = total(
        http("aborted", path),
        chat("error"),
        {"llm_calls_total status=error": 1, "llm_call_duration_seconds_count": 1},
        error("client_disconnected", "agent"),
    )
    return Case([], moves, hang_up(path, llm), settings={"llm": llm})


def tool_cases(name: str) -> dict[str, Case]:
    """A tool that answers, one that is asked for what is not there, and one that is too slow."""
    arguments, output = OUTPUTS[name]
    kind = TOOLS[name].cache_type
    asked, lost = call(name, **arguments), call(name, **{**arguments, "path": "missing"})
    use = total(ALONE, missed(kind))
    return {
        f"{name} answers": tools(
            asked, moves=total(use, tool(name), command(name, output), kept(kind))
        ),
        f"{name} fails": tools(
            lost, moves=total(use, tool(name, "error"), command(name, 0, "error"), kept(kind))
        ),
        f"{name} takes too long": tools(
            asked,
            moves=total(use, tool(name, "timeout"), stopped(name)),
            settings={"command_timeout": 1e-9},
        ),
    }


def cache_cases(kind: CacheType, asked: ToolCall, other: ToolCall) -> dict[str, Case]:
    """What goes on in one of the caches, with two different questions to it."""
    name, output = asked.name, OUTPUTS[asked.name][1]
    ran = command(name, output)
    rivals = {"content": "search", "search": "content"}
    return {
        f"a {kind} that is remembered": again(
            asked, moves=total(ALONE, tool(name), remembered(kind))
        ),
        f"a {kind} that is too old": again(
            asked,
            moves=total(
                ALONE,
                tool(name),
                missed(kind, "ttl_expired"),
                invalidated(kind, "ttl_expired"),
                ran,
                kept(kind, new=False),
            ),
            **{f"cache_{kind}_ttl": 1e-9},
        ),
        f"a {kind} on disk that cannot be read": again(
            asked,
            moves=total(
                ALONE,
                tool(name),
                cache("get", kind, "error"),
                ran,
                cache("set", kind, "hit"),
                {f"cache_entries_total cache_type={kind}": 1},
            ),
            first=damage_disk,
        ),
        f"a disk that fails a {kind}": tools(
            asked,
            moves=total(
                ALONE,
                tool(name),
                missed(kind),
                ran,
                cache("set", kind, "hit"),
                cache("set", kind, "error"),
                {f"cache_entries_total cache_type={kind}": 1},
            ),
            first=break_disk,
        ),
        f"a disk that is full of {kind}": tools(
            asked,
            other,
            moves=total(
                {"parallel_tool_executions_total": 2},
                tool(name),
                tool(other.name),
                *[missed(kind), cache("set", kind, "hit")] * 2,
                ran,
                command(other.name, OUTPUTS[other.name][1]),
                {
                    f"cache_evictions_total cache_type={kind} tier=disk": 1,
                    f"cache_entries_total cache_type={kind}": 2,
                    "cache_entries_total cache_type=disk": 1,
                },
            ),
            settings={"cache_size_limit": 1200},
        ),
        f"the same {kind} twice at once": Case(
            [[asked], [asked], "done", "done"],
            total(
                *[http(), chat(iterations=2), ALONE, tool(name)] * 2,
                llm_calls(4),
                missed(kind),
                missed(kind, "in_flight"),
                ran,
                kept(kind),
            ),
            both_ask,
        ),
        f"a memory that is full of {kind}": Case(
            [],
            total(
                *[missed(kind)] * 3,
                *[cache("set", kind, "hit")] * 2,
                cache("set", kind, "miss"),
                {
                    f"cache_evictions_total cache_type={kind} tier=memory": 1,
                    f"cache_entries_total cache_type={kind}": 1,
                },
            ),
            fill_cache(kind),
            settings={"cache_memory_limit": 2 * 1500, "cache_size_limit": 0},
        ),
        f"a cache of {kind} that is emptied": Case(
            [[asked], "done"],
            total(
                http(route="/api/cache", method="DELETE"),
                cache("delete", kind, "hit"),
                cache("delete", rivals[kind], "miss"),
                invalidated(kind, "manual"),
                {
                    f"cache_entries_total cache_type={kind}": -1,
                    "cache_entries_total cache_type=disk": -1,
                },
            ),
            empty_cache,
            ask,
        ),
    }


def scan(found: Series, pattern: str = "alpha", **settings: Any) -> Case:
    """A document that is searched by a route, and no tool."""
    route = "/api/stream/search/{path:path}"
    path = "/api/stream/search/readme.md"
    act = request("GET", path, params={"pattern": pattern})
    return Case([], total(http(200, route, "GET"), found), act, settings=settings)


CASES = {
    **{title: case for name in TOOLS for title, case in tool_cases(name).items()},
    **cache_cases("content", CAT, call("head", path="readme.md")),
    **cache_cases("search", GREP, LS),
    # Chats.
    "an answer": Case(["done"], total(http(), chat(), llm_calls())),
    "a streamed answer": Case(
        ["done"], total(http(route="/api/chat/stream"), chat(), llm_calls()), stream
    ),
    "no answer in time": Case(
        [[call("rm")]] * 2,
        total(
            http(),
            chat("max_iterations", 2),
            llm_calls(2),
            *[ALONE, tool("unknown", "error"), blocked("command_not_allowed")] * 2,
        ),
        settings={"max_tool_iterations": 2},
    ),
    "a fault of the app": Case(
        [ZeroDivisionError()],
        total(
            http(500),
            chat("error"),
            {"llm_calls_total status=error": 1, "llm_call_duration_seconds_count": 1},
            error("internal", "agent"),
        ),
    ),
    # The LLM.
    "an LLM that is too slow": Case(
        [TIMEOUT], total(http(502), chat("error"), llm_failures("timeout"))
    ),
    "an LLM that cannot be reached": Case(
        [CONNECTION] * 3, total(http(502), chat("error"), llm_failures("connection", 3))
    ),
    "an LLM that is busy at first": Case(
        [BUSY, "done"], total(http(), chat(), llm_failures("rate_limit"), llm_calls())
    ),
    "an LLM that is down": Case(
        [DOWN] * 3, total(http(502), chat("error"), llm_failures("http_error", 3))
    ),
    "an LLM that answers nonsense": Case(
        [BROKEN], total(http(502), chat("error"), llm_failures("broken_answer"))
    ),
    "a stream that breaks off": Case(
        [],
        total(
            http(route="/api/chat/stream"),
            chat("error"),
            llm_failures("broken_answer"),
            llm_tokens(),
        ),
        stream,
        settings={"llm": StreamDies()},
    ),
    # Clients who leave.
    "a client that leaves": left("/api/chat"),
    "a client that leaves a stream": left("/api/chat/stream"),
    # Tools, the caches and the sandbox.
    "two tools at once": tools(
        LS,
        GREP,
        moves=total(
            {"parallel_tool_executions_total": 2},
            tool("ls"),
            tool("grep"),
            missed("search"),
            missed("search"),
            command("ls", LISTED),
            command("grep", FOUND),
            kept("search"),
            kept("search"),
        ),
    ),
    "a tool that fails": tools(
        call("cat", path="teams"),
        moves=total(
            ALONE,
            tool("cat", "error"),
            missed("content"),
            command("cat", 0, "error"),
            kept("content"),
        ),
    ),
    "a tool that there is not": tools(
        call("rm"), moves=total(ALONE, tool("unknown", "error"), blocked("command_not_allowed"))
    ),
    "arguments that make no sense": tools(
        call("cat", path=7), moves=total(ALONE, tool("cat", "error"))
    ),
    "a path that leads out": tools(
        call("cat", path="../secret.txt"),
        moves=total(ALONE, tool("cat", "error"), blocked("path_traversal")),
    ),
    "a file that is too large": tools(
        CAT,
        moves=total(
            ALONE,
            tool("cat", "error"),
            missed("content"),
            command("cat", 0, "error"),
            blocked("file_too_large"),
        ),
        settings={"max_file_size": 5},
    ),
    "a fault in the sandbox": tools(
        CAT,
        moves=total(
            ALONE,
            tool("cat", "error"),
            missed("content"),
            command("cat", 0, "error"),
            error("internal"),
        ),
        first=instead(Execution("error", error="failed", fault=True)),
    ),
    "a sandbox that runs nothing": tools(
        CAT,
        moves=total(
            ALONE,
            tool("cat", "error"),
            missed("content"),
            {"sandbox_wait_seconds_count command=cat": 1},
            error("unavailable"),
        ),
        first=instead(not_run(Execution("error", error="no process"))),
    ),
    "a process of the sandbox is replaced": tools(
        CAT,
        moves=total(
            ALONE,
            tool("cat"),
            missed("content"),
            command("cat", TEXT),
            kept("content"),
            {"sandbox_worker_restarts_total": 1},
        ),
        first=restart,
    ),
    "a file that changed": again(
        CAT,
        moves=total(
            ALONE,
            tool("cat"),
            missed("content", "file_change"),
            invalidated("content", "file_change"),
            command("cat", "new"),
            kept("content", new=False),
        ),
        first=edit(lambda root: (root / "readme.md").write_text("new")),
    ),
    "a folder that changed": again(
        LS,
        moves=total(
            ALONE,
            tool("ls"),
            missed("search", "directory_change"),
            invalidated("search", "directory_change"),
            command("ls", "a\nreadme.md\nteams/"),
            kept("search", new=False),
        ),
        first=edit(lambda root: (root / "a").write_text("")),
    ),
    "a file that became a folder": again(
        CAT,
        moves=total(
            ALONE,
            tool("cat", "error"),
            missed("content", "directory_change"),
            invalidated("content", "directory_change"),
            command("cat", 0, "error"),
            kept("content", new=False),
        ),
        first=edit(become_folder),
    ),
    "a file that changed in a folder": again(
        GREP,
        moves=total(
            ALONE,
            tool("grep"),
            missed("search", "file_change"),
            invalidated("search", "file_change"),
            command("grep", "readme.md:1:alpha 2\nteams/blue.txt:1:Blue keeps alpha running"),
            kept("search", new=False),
        ),
        first=edit(lambda root: (root / "readme.md").write_text("alpha 2")),
    ),
    # Documents that are searched.
    "a search by a route": scan(command("scan", 151)),
    "a search by a route that fails": scan(command("scan", 0, "error"), pattern="("),
    "a search by a route that takes too long": scan(stopped("scan"), command_timeout=1e-9),
    # Sessions.
    "a session that goes on": Case(
        ["one", "two"],
        total(http(), chat(), llm_calls())
        | {"session_messages_total_sum": 4, "active_sessions_total": 0},
        ask_in_session,
        ask_in_session,
    ),
    "a session that is deleted": Case(
        ["one"],
        total(
            http(route="/api/chat/sessions/{session_id}", method="DELETE"),
            {"active_sessions_total": -1},
        ),
        forget_session,
        ask_in_session,
    ),
    # Requests that are no chats.
    "a request that is not valid": Case(
        [], http(422), request("POST", "/api/chat", json={"message": ""})
    ),
    "a route that there is not": Case(
        [], http(404, "unmatched", "GET"), request("GET", "/no/such/page")
    ),
    "a method of its own making": Case(
        [], http(405, "/api/chat", "other"), request("BREW", "/api/chat")
    ),
    "a document": Case(
        [],
        http(200, "/api/documents/{path:path}", "GET"),
        request("GET", "/api/documents/readme.md"),
    ),
    "a document elsewhere": Case(
        [],
        total(http(403, "/api/documents/{path:path}", "GET"), blocked("path_traversal")),
        request("GET", "/api/documents/%2e%2e/secret.txt"),
    ),
    "a document that is too large": Case(
        [],
        total(http(413, "/api/documents/{path:path}", "GET"), blocked("file_too_large")),
        request("GET", "/api/documents/readme.md"),
        settings={"max_file_size": 5},
    ),
    "a path that is left out": Case([], {}, request("GET", "/health")),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_moves(start: Start, case: Case) -> None:
    async with start(*case.turns, **case.settings) as app:
        await case.first(app)
        before = await settled(app)
        await case.act(app)
        after = await settled(app)

    moved = {
        name: after[name] - before.get(name, 0.0)
        for name in after
        if after[name] != before.get(name, 0.0) and not ELSEWHERE.fullmatch(name.split()[0])
    }
    assert moved == {name: value for name, value in case.moves.items() if value != 0}


MOVED_ELSEWHERE = {
    r"process_(cpu|start|open|resident)_\w+": "test_workers.py",
    r"llm_token_discrepancy_ratio_\w+|llm_tokens_checked_total .*": "test_accounts.py",
    r"llm_usage_estimated_total": "test_accounts.py",
    r"errors_total component=llm error_type=(unpriced|usage_missing)": "test_accounts.py",
    r"traces_total result=(recorded|not_sampled)|tracing_enabled": "test_app_tracing.py",
    r"trace_(queue|export|circuit)\w+ .*": "test_export.py",
    # Read there for test_export.py.
    r"trace_spans_total .*": "collector.py",
    r"log_\w+( .*)?": "test_logs.py",
    r"(app|sandbox_isolation)_info": __file__,
    r"http_requests_in_flight|event_loop_lag_seconds_count|tracing_seconds_total": __file__,
    r"cache_(size_bytes .*|disk_usage_bytes|max_staleness_seconds)": __file__,
}
"""Where the series are moved that no case above moves."""

NEVER_MOVED = {
    r"process_(virtual|max)_\w+": "read by the client library itself",
    r"\w+_seconds_sum( .*)?": "how long it takes varies; the count beside it is looked at",
    r"cache_operations_total .* operation=delete result=error": "emptying a cache cannot fail",
    r"llm_cost_usd_total model=unpriced": "what has no price has no cost; it is an error instead",
    r"tool_executions_total status=(success|timeout) tool_name=unknown": "no such tool is ever run",
}
"""Which series are not, and why."""


def test_no_series_is_forgotten() -> None:
    metrics = Metrics()
    metrics.know_models(["scripted"])
    made = {
        series_name(sample)
        for family in metrics.registry.collect()
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket"))
    }
    moved = {name for case in CASES.values() for name, value in case.moves.items() if value != 0}
    excuses = [*MOVED_ELSEWHERE, *NEVER_MOVED]
    excused = [(p, name) for p in excuses for name in made - moved if re.fullmatch(p, name)]

    assert made - moved - {name for _, name in excused} == set()
    # No excuse for what moves after all, or is no more.
    assert set(excuses) - {pattern for pattern, _ in excused} == set()


@pytest.mark.parametrize("pattern", MOVED_ELSEWHERE)
def test_what_moves_elsewhere_is_spoken_of_there(pattern: str) -> None:
    there = Path(__file__).with_name(Path(MOVED_ELSEWHERE[pattern]).name).read_text()
    families = {
        family.name
        for family in Metrics().registry.collect()
        for sample in family.samples
        if re.fullmatch(pattern, series_name(sample))
    }

    assert families
    assert [name for name in families if name not in there] == []


async def test_sizes_are_what_went_over_the_wire(start: Start) -> None:
    async with start("done", "a streamed answer") as app:
        plain = await app.ask("question")
        streamed = await app.client.post("/api/chat/stream", json={"message": "question"})
        series = await exposition(app.client)

    for route, answer in (("/api/chat", plain), ("/api/chat/stream", streamed)):
        labels = f"endpoint={route} method=POST"
        assert series[f"http_request_size_bytes_sum {labels}"] == len(answer.request.content)
        assert series[f"http_response_size_bytes_sum {labels}"] == len(answer.content)


async def test_what_is_under_way_is_shown(start: Start) -> None:
    llm = SilentLLM()
    async with start(llm=llm) as app:
        idle = await exposition(app.client)
        asking = asyncio.ensure_future(app.ask())
        await llm.asked.wait()
        busy = await exposition(app.client)
        asking.cancel()
        await asyncio.wait({asking})
        after = await exposition(app.client)

    name = "http_requests_in_flight"
    assert (idle[name], busy[name], after[name]) == (0, 1, 0)


async def test_the_time_that_telling_takes_is_counted(start: Start) -> None:
    async with start("one", "two", langfuse_enabled=True) as app:
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            await app.ask()
            seconds.append(time.perf_counter() - begun)
            seconds.append((await exposition(app.client))["tracing_seconds_total"])

    first, told_first, second, told_both = seconds
    assert 0 < told_first < first
    assert 0 < told_both - told_first < second


async def test_the_lag_of_the_loop_is_measured(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOOK_SECONDS", 0.0)
    async with start() as app:
        seen: list[float] = []
        while len(set(seen)) < 2:
            seen.append((await exposition(app.client))["event_loop_lag_seconds_count"])

    assert seen == sorted(seen)


async def test_what_the_caches_hold_is_shown(start: Start) -> None:
    async with start([CAT], "done", cache_inotify=False, cache_state_max_age=0.5) as app:
        empty = await settled(app)
        await app.ask()
        full = await settled(app)
        folder = app.app.state.services.settings.cache_directory
        services = app.app.state.services

        assert empty["cache_size_bytes cache_type=content"] == 0
        assert full["cache_size_bytes cache_type=content"] == services.caches["content"].size_bytes
        assert full["cache_size_bytes cache_type=search"] == 0
        assert full["cache_size_bytes cache_type=disk"] == services.disk.size_bytes > 0
        assert full["cache_disk_usage_bytes"] == sum(f.stat().st_size for f in folder.iterdir())
        assert {f.suffix for f in folder.iterdir()} >= {".sqlite", ".sqlite-wal"}
        assert full["cache_max_staleness_seconds"] == 0.5


async def test_what_is_running_is_told(start: Start) -> None:
    async with start(deployment="here", langfuse_environment="bench") as app:
        series = await exposition(app.client)

    info = [name for name in series if name.startswith(("app_info", "sandbox_isolation"))]
    assert info == [
        f"app_info deployment=here environment=bench version={version('harness')}",
        "sandbox_isolation_info level=paths required=paths",
    ]


async def settled(app: RunningApp) -> Series:
    """Read all series, once what was to be written to the disk is there."""
    disk = app.app.state.services.disk
    if disk is not None:
        await asyncio.to_thread(disk.flush)
    return await exposition(app.client)
