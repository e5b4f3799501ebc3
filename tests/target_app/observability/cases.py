"""Every way through the app, and all that it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from target_app.agent.llm import LLMError
from target_app.agent.messages import ToolCall
from target_app.agent.tools import TOOLS, CacheType
from target_app.sandbox.result import Execution
from target_app.sandbox.run import not_run
from tests.target_app.exposition import Series
from tests.target_app.observability.acts import (
    BROKEN,
    Act,
    StreamDies,
    ask,
    ask_in_session,
    become_folder,
    both_ask,
    break_disk,
    damage_disk,
    edit,
    empty_cache,
    fill_cache,
    forget_session,
    hang_up,
    instead,
    nothing,
    request,
    restart,
    stream,
)
from tests.target_app.observability.moves import (
    ALONE,
    blocked,
    cache,
    chat,
    command,
    error,
    http,
    invalidated,
    kept,
    llm_calls,
    llm_failures,
    llm_tokens,
    missed,
    remembered,
    stopped,
    tool,
    total,
)
from tests.target_app.scripted import (
    SilentLLM,
    call,
)

TIMEOUT = LLMError("timeout", "the LLM did not answer in time")
CONNECTION = LLMError("connection", "the connection to the LLM failed")
BUSY = LLMError("rate_limit", "the LLM limits the rate of calls", 429)
DOWN = LLMError("http_error", "the LLM answered with status 500", 500)

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
