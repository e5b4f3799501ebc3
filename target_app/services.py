"""Everything that is made once when the app starts, and closed when it stops."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import cast

from fastapi import Request
from opentelemetry.sdk.trace.export import SpanExporter

from target_app.agent.execution import Cache, CacheType, Execution, ToolRunner, execute
from target_app.agent.llm import LLM, OpenAILLM, make_client
from target_app.agent.orchestrator import Orchestrator
from target_app.cache.results import ResultCache
from target_app.chats import Chats
from target_app.observability.metrics import Metrics
from target_app.observability.observed import ObservedCache, observe_commands
from target_app.observability.tracing import Tracing, make_tracing
from target_app.sandbox.commands import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sessions import Sessions
from target_app.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes use."""

    chats: Chats
    caches: Mapping[CacheType, Cache]
    root: DataRoot
    tracing: Tracing


@dataclass(frozen=True, slots=True)
class Edges:
    """
    What the app takes from the world outside, so that a test can put something in its place.

    `llm` None means the one of the settings; `span_exporter` None means the network.
    `wall_clock_ns` is the clock that files are dated by.
    """

    llm: LLM | None = None
    span_exporter: SpanExporter | None = None
    wall_clock_ns: Callable[[], int] = time.time_ns


@asynccontextmanager
async def make_services(
    settings: Settings, metrics: Metrics, edges: Edges
) -> AsyncIterator[Services]:
    """Make the parts of the app, and close them when the block ends."""
    root = DataRoot(settings.data_root_path)
    # The limit is for both caches together.
    half = settings.cache_size_limit // 2
    stores: dict[CacheType, ResultCache[Execution]] = {
        "content": ResultCache(half),
        "search": ResultCache(half, ttl_seconds=settings.cache_search_ttl),
    }
    caches = {name: ObservedCache(store, name, metrics) for name, store in stores.items()}
    sessions = Sessions()
    metrics.watch_caches(stores)
    metrics.watch_sessions(sessions)
    limits = Limits(settings.max_output_size, settings.max_file_size, settings.command_timeout)
    runner = ToolRunner(
        root,
        caches,
        limits,
        run_command=observe_commands(execute, metrics),
        wall_clock_ns=edges.wall_clock_ns,
    )
    tracing = make_tracing(settings, edges.span_exporter)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracing.close)
        llm = edges.llm
        if llm is None:
            llm = OpenAILLM(await stack.enter_async_context(make_client(settings)), settings.model)
        yield Services(
            chats=Chats(
                llm=llm,
                model=settings.model,
                run_call=runner.run,
                orchestrator=Orchestrator(settings.max_concurrent_tools),
                sessions=sessions,
                metrics=metrics,
                tracing=tracing,
                max_iterations=settings.max_tool_iterations,
            ),
            caches=caches,
            root=root,
            tracing=tracing,
        )


async def services(request: Request) -> Services:
    """Hand the services to a route. A coroutine, to spare each request a worker thread."""
    return cast("Services", request.app.state.services)
