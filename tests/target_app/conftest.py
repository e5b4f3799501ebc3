"""A small folder of documents, and the app started on it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from target_app.agent.messages import ToolCall
from target_app.main import create_app
from target_app.observability.logs import flush_logs
from target_app.services import Edges
from target_app.settings import Settings
from tests.target_app.scripted import HOUR_NS, PRICES, RunningApp, ScriptedLLM, Start

_keys = itertools.count()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Each within what captures its phase: between two of them a line would come out on the terminal.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    return (yield from _lines_written())


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    return (yield from _lines_written())


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    return (yield from _lines_written())


def _lines_written() -> Iterator[None]:
    try:
        return (yield)
    finally:
        flush_logs()


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Make a folder with a secret beside it, which no tool may ever show."""
    root = tmp_path / "documents"
    (root / "teams").mkdir(parents=True)
    (root / "readme.md").write_text("alpha\nbeta\ngamma\n")
    (root / "teams" / "blue.txt").write_text("Blue keeps alpha running\n")
    (root / "teams" / "red.txt").write_text("Red ships beta\n")
    (tmp_path / "secret.txt").write_text("the secret\n")
    return root


@pytest.fixture
def start(documents: Path) -> Start:
    """Start the app with an LLM and settings of the test's choice."""

    @asynccontextmanager
    async def started(
        *turns: Sequence[ToolCall] | str | Exception, llm: Any = None, **settings: Any
    ) -> AsyncIterator[RunningApp]:
        spans = InMemorySpanExporter()
        prices = documents.parent / "prices.yaml"
        prices.write_text(PRICES)
        chosen = {
            "data_root_path": documents,
            "openai_api_key": "unused",
            "cache_management_enabled": True,
            "cache_directory": documents.parent / "cache",
            # Starting processes for every test would take minutes; tests of isolation ask for it.
            "isolation": "paths",
            # The tracing library keeps one client a key for as long as the process lives.
            "langfuse_public_key": f"pk-{next(_keys)}",
            "langfuse_secret_key": "sk",
            "prices_path": prices,
            # Loading a tokenizer takes a second; tests of counting ask for it.
            "token_check_every": 0,
            **settings,
        }
        edges = Edges(
            llm=llm or ScriptedLLM(list(turns)),
            span_exporter=spans,
            # An hour late, every file was written long enough ago to be remembered.
            wall_clock_ns=lambda: time.time_ns() + HOUR_NS,
            # Nobody waits before an LLM call is made again.
            sleep=lambda _: asyncio.sleep(0),
        )
        app = create_app(Settings(**chosen), edges)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://app") as client,
        ):
            yield RunningApp(app, client, spans)

    return started
