"""Every way through the app moves the metrics that it should, by as much as it should, only."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply, ToolCall
from target_app.cache.database import FILE_NAME
from target_app.cache.results import Made
from target_app.cache.state import State
from target_app.observability.metrics import Metrics
from target_app.sandbox.result import Execution
from target_app.sandbox.run import not_run
from tests.target_app.exposition import Series, exposition
from tests.target_app.scripted import (
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

ELSEWHERE = re.compile(
    # What varies from run to run: how long it took, and how much SQLite makes of it.
    r"\w+_seconds_sum|cache_disk_usage_bytes|process_\w+|event_loop_lag_seconds_count"
    # What other tests look at: sizes below, the telling itself in the tests of each sink.
    r"|http_\w+_size_bytes_sum|cache_size_bytes|trac\w+|log_\w+"
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
    """A chat that ended so. Only one with an answer is remembered in its session."""
    moves: Series = {
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
    moves: Series = {
        "llm_calls_total status=success": count,
        "llm_call_duration_seconds_count": count,
        "llm_cost_usd_total model=scripted": pytest.approx(count * CALL_USD),
    }
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


async def damage_disk(app: RunningApp) -> None:
    """Keep a result, and damage it on the disk; it is in memory no more."""
    services = app.app.state.services
    await app.ask()
    await asyncio.to_thread(services.disk.flush)
    with closing(sqlite3.connect(services.settings.cache_directory / FILE_NAME)) as database:
        database.execute("UPDATE payloads SET value = x'00'")
        database.commit()
    services.caches["content"]._memory.clear()


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


async def fill_cache(app: RunningApp) -> None:
    """Keep two results where there is room for one, and one for which there is none."""
    content = app.app.state.services.caches["content"]

    for name, size in (("a", 300), ("b", 300), ("c", 3000)):

        async def make(size: int = size) -> Made[Execution]:
            return Made(Execution("success"), keep=True, seconds=1.0, size_bytes=size)

        await content.answer(name, State(b"", b"", 0), make)


async def empty_cache(app: RunningApp) -> None:
    await app.client.delete("/api/cache")


async def forget_session(app: RunningApp) -> None:
    await app.client.delete("/api/chat/sessions/s")


async def ask_in_session(app: RunningApp) -> None:
    await app.ask(session_id="s")


async def both_ask(app: RunningApp) -> None:
    await asyncio.gather(app.ask(), app.ask())


class StreamDies:
    """An LLM whose stream breaks off after a word."""

    async def call(self, prompt: Prompt, on_token: OnToken | None) -> Reply:
        assert on_token is not None
        await on_token("One")
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


CASES = {
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
        total(http(route="/api/chat/stream"), chat("error"), llm_failures("broken_answer")),
        stream,
        settings={"llm": StreamDies()},
    ),
    # Clients who leave.
    "a client that leaves": left("/api/chat"),
    "a client that leaves a stream": left("/api/chat/stream"),
    # Tools, the caches and the sandbox.
    "a tool": tools(
        CAT,
        moves=total(
            ALONE,
            tool("cat"),
            missed("content"),
            command("cat", "alpha\nbeta\ngamma"),
            kept("content"),
        ),
    ),
    "two tools at once": tools(
        LS,
        GREP,
        moves=total(
            {"parallel_tool_executions_total": 2},
            tool("ls"),
            tool("grep"),
            missed("search"),
            missed("search"),
            command("ls", "readme.md\nteams/"),
            command("grep", "readme.md:1:alpha\nteams/blue.txt:1:Blue keeps alpha running"),
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
    "a file that is not there": tools(
        call("cat", path="missing"),
        moves=total(
            ALONE,
            tool("cat", "error"),
            missed("content"),
            command("cat", 0, "error"),
            kept("content"),
        ),
    ),
    "a tool that takes too long": tools(
        GREP,
        moves=total(
            ALONE,
            tool("grep", "timeout"),
            missed("search"),
            command("grep", 0, "timeout"),
            {"sandbox_timeouts_total command=grep": 1},
            error("timeout"),
        ),
        settings={"command_timeout": 1e-9},
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
            command("cat", "alpha\nbeta\ngamma"),
            kept("content"),
            {"sandbox_worker_restarts_total": 1},
        ),
        first=restart,
    ),
    "a content that is remembered": again(
        CAT, moves=total(ALONE, tool("cat"), remembered("content"))
    ),
    "a search that is remembered": again(
        GREP, moves=total(ALONE, tool("grep"), remembered("search"))
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
    "a result that is too old": again(
        LS,
        moves=total(
            ALONE,
            tool("ls"),
            missed("search", "ttl_expired"),
            invalidated("search", "ttl_expired"),
            command("ls", "readme.md\nteams/"),
            kept("search", new=False),
        ),
        cache_search_ttl=1e-9,
    ),
    "a result on disk that cannot be read": again(
        CAT,
        moves=total(
            ALONE,
            tool("cat"),
            cache("get", "content", "error"),
            command("cat", "alpha\nbeta\ngamma"),
            cache("set", "content", "hit"),
            {"cache_entries_total cache_type=content": 1},
        ),
        first=damage_disk,
    ),
    "a disk that fails": tools(
        CAT,
        moves=total(
            ALONE,
            tool("cat"),
            missed("content"),
            command("cat", "alpha\nbeta\ngamma"),
            cache("set", "content", "hit"),
            cache("set", "content", "error"),
            {"cache_entries_total cache_type=content": 1},
        ),
        first=break_disk,
    ),
    "a disk that is full of results": tools(
        CAT,
        call("head", path="readme.md"),
        moves=total(
            {"parallel_tool_executions_total": 2},
            tool("cat"),
            tool("head"),
            *[missed("content"), cache("set", "content", "hit")] * 2,
            command("cat", "alpha\nbeta\ngamma"),
            command("head", "alpha\nbeta\ngamma"),
            {
                "cache_evictions_total cache_type=content tier=disk": 1,
                "cache_entries_total cache_type=content": 2,
                "cache_entries_total cache_type=disk": 1,
            },
        ),
        settings={"cache_size_limit": 1200},
    ),
    "the same question twice at once": Case(
        [[CAT], [CAT], "done", "done"],
        total(
            *[http(), chat(iterations=2), ALONE, tool("cat")] * 2,
            llm_calls(4),
            missed("content"),
            {
                "cache_operations_total cache_type=content operation=get result=miss": 1,
                "cache_operation_duration_seconds_count cache_type=content operation=get": 1,
                "cache_misses_total cache_type=content reason=in_flight": 1,
            },
            command("cat", "alpha\nbeta\ngamma"),
            kept("content"),
        ),
        both_ask,
    ),
    "a memory that is full": Case(
        [],
        total(
            *[missed("content")] * 3,
            *[cache("set", "content", "hit")] * 2,
            cache("set", "content", "miss"),
            {
                "cache_evictions_total cache_type=content tier=memory": 1,
                "cache_entries_total cache_type=content": 1,
            },
        ),
        fill_cache,
        settings={"cache_memory_limit": 2 * 1500, "cache_size_limit": 0},
    ),
    "a cache that is emptied": Case(
        [[CAT], "done"],
        total(
            http(route="/api/cache", method="DELETE"),
            cache("delete", "content", "hit"),
            cache("delete", "search", "miss"),
            invalidated("content", "manual"),
            {
                "cache_entries_total cache_type=content": -1,
                "cache_entries_total cache_type=disk": -1,
            },
        ),
        empty_cache,
        ask,
    ),
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


def test_no_metric_is_forgotten() -> None:
    families = {family.name for family in Metrics().registry.collect()}
    moved = {
        re.sub("_(total|count|sum)$", "", name.split()[0])
        for case in CASES.values()
        for name in case.moves
    }
    # Histograms and gauges whose names end so are families of that name.
    moved |= {f"{name}_total" for name in moved}

    assert {name for name in families - moved if not ELSEWHERE.fullmatch(name)} == {
        # In the tests below.
        "app",
        "cache_max_staleness_seconds",
        "http_requests_in_flight",
        "sandbox_isolation",
        # In test_accounts.py.
        "llm_token_discrepancy_ratio",
        "llm_tokens_checked",
        "llm_usage_estimated",
        # In test_process.py.
        "event_loop_lag_seconds",
        # In the tables above, under the name with _seconds_sum.
    }


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
