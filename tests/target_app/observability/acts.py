"""What somebody does to the running app, or to what it stands on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from target_app.agent.llm import LLMError, OnToken
from target_app.agent.messages import Prompt, Reply
from target_app.agent.tools import CacheType
from target_app.cache.database import FILE_NAME
from target_app.cache.results import Made
from target_app.cache.state import State
from target_app.sandbox.result import Execution
from tests.target_app.scripted import (
    CALL_USAGE,
    RunningApp,
    SilentLLM,
)

BROKEN = LLMError("broken_answer", "the LLM's answer broke off or is malformed")

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
