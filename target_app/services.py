"""Everything that is made once when the app starts, and closed when it stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, cast

from fastapi import Depends, Request
from opentelemetry.sdk.trace.export import SpanExporter

from target_app.agent.estimating import EstimatingLLM
from target_app.agent.execution import EXECUTION_CODEC, ToolRunner
from target_app.agent.llm import LLM, OpenAILLM, make_client
from target_app.agent.orchestrator import Orchestrator
from target_app.agent.retries import Retries
from target_app.agent.tokens import load_tokenizers
from target_app.agent.tools import CACHE_TYPES, CacheType
from target_app.cache.disk import Disk
from target_app.cache.memory import Memory
from target_app.cache.results import ResultCache
from target_app.cache.tree import TreeStates
from target_app.chats import Chats
from target_app.documents import Documents
from target_app.observability.metrics import Metrics
from target_app.observability.telemetry import Telemetry
from target_app.observability.tracing import Tracing
from target_app.sandbox.isolation import IsolationLevel, Sandbox, make_sandbox
from target_app.sandbox.output import Limits
from target_app.sandbox.paths import DataRoot
from target_app.sandbox.result import Command, Execution
from target_app.sessions import Sessions
from target_app.settings import Settings

RunCommand = Callable[[Command], Awaitable[Execution]]
"""Runs a command in the sandbox, under the limit of tools, and counts it."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes use."""

    chats: Chats
    caches: Mapping[CacheType, ResultCache[Execution]]
    disk: Disk | None
    root: DataRoot
    sandbox: Sandbox
    run_command: RunCommand
    trees: TreeStates
    telemetry: Telemetry
    tracing: Tracing
    metrics: Metrics
    documents: Documents
    sessions: Sessions
    settings: Settings


@dataclass(frozen=True, slots=True)
class Edges:
    """
    What the app takes from the world outside, so that a test can put something in its place.

    `llm` None means the one of the settings; `span_exporter` None means the network.
    `wall_clock_ns` is the clock that files are dated by; `sleep` waits between the attempts at
    an LLM call.
    """

    llm: LLM | None = None
    span_exporter: SpanExporter | None = None
    wall_clock_ns: Callable[[], int] = time.time_ns
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@asynccontextmanager
async def make_services(
    settings: Settings,
    edges: Edges,
    metrics: Metrics,
    tracing: Tracing,
    telemetry: Telemetry,
) -> AsyncIterator[Services]:
    """Make the parts of the app, and close them, and the tracing, when the block ends."""
    root = DataRoot(settings.data_root_path)
    sessions = Sessions(max_sessions=settings.max_sessions, ttl_seconds=settings.session_ttl)
    if settings.checks_tokens:
        # Now, and not for the first call that is checked.
        await asyncio.to_thread(load_tokenizers)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracing.close)
        await stack.enter_async_context(sessions.swept())
        limits = command_limits(settings)
        sandbox = await _make_sandbox(settings, root, limits)
        stack.push_async_callback(sandbox.close)
        trees = TreeStates(
            root, max_age_seconds=settings.cache_state_max_age, inotify=settings.cache_inotify
        )
        stack.callback(trees.close)
        disk = _make_disk(settings, stack)
        caches = _make_caches(settings, telemetry, edges, disk)
        runs = telemetry.sandbox(sandbox)
        runner = ToolRunner(root, runs, caches, trees, limits=limits)
        orchestrator = Orchestrator(
            settings.max_concurrent_tools, parallel=settings.parallel_execution
        )

        async def run_command(command: Command) -> Execution:
            return await orchestrator.run_beside(partial(runs.run, command))

        llm = edges.llm
        if llm is None:
            llm = OpenAILLM(await stack.enter_async_context(make_client(settings)), settings.model)
        made = Services(
            chats=Chats(
                llm=EstimatingLLM(llm),
                retries=Retries(
                    settings.llm_max_attempts, settings.llm_deadline_seconds, sleep=edges.sleep
                ),
                run_call=runner.run,
                orchestrator=orchestrator,
                sessions=sessions,
                telemetry=telemetry,
                max_iterations=settings.max_tool_iterations,
            ),
            caches=caches,
            disk=disk,
            root=root,
            sandbox=sandbox,
            run_command=run_command,
            trees=trees,
            telemetry=telemetry,
            tracing=tracing,
            metrics=metrics,
            documents=Documents(root, settings.max_file_size),
            sessions=sessions,
            settings=settings,
        )
        _watch(made)
        yield made


def _watch(made: Services) -> None:
    """Have the metrics show how the parts of the app are now."""
    metrics = made.metrics
    metrics.sandbox_isolation.info(
        {"level": made.sandbox.level, "required": made.settings.require_isolation}
    )
    metrics.watch_sessions(made.sessions)
    metrics.watch_caches(made.caches.items())
    metrics.watch(metrics.cache_max_staleness, lambda: made.trees.max_staleness_seconds)
    if made.disk is not None:
        metrics.watch_caches([("disk", made.disk)])
        metrics.watch(metrics.cache_disk_usage, _usage_of(made.disk))


def _usage_of(disk: Disk) -> Callable[[], float]:
    return lambda: disk.usage_bytes


def command_limits(settings: Settings) -> Limits:
    """Answer what bounds a command."""
    return Limits(
        output_bytes=settings.max_output_size,
        file_bytes=settings.max_file_size,
        timeout_seconds=settings.command_timeout,
        small_file_bytes=settings.small_file_threshold,
        medium_file_bytes=settings.medium_file_threshold,
    )


async def _make_sandbox(settings: Settings, root: DataRoot, limits: Limits) -> Sandbox:
    """Make the sandbox. Raises IsolationError when it would be weaker than REQUIRE_ISOLATION."""
    chosen = settings.isolation
    return await make_sandbox(
        root,
        limits,
        isolation="auto" if chosen == "auto" else IsolationLevel(chosen),
        require=IsolationLevel(settings.require_isolation),
        workers=settings.sandbox_workers,
        memory_bytes=settings.sandbox_memory_limit,
    )


def _make_disk(settings: Settings, stack: AsyncExitStack) -> Disk | None:
    """Make the disk of the caches, unless it is to hold nothing."""
    if not settings.cache_size_limit:
        return None
    disk = Disk(settings.cache_directory, settings.cache_size_limit)
    stack.push_async_callback(asyncio.to_thread, disk.close)
    return disk


def _make_caches(
    settings: Settings, telemetry: Telemetry, edges: Edges, disk: Disk | None
) -> dict[CacheType, ResultCache[Execution]]:
    """Make the two caches, which share the memory limit in equal parts, and the disk."""
    ttl: dict[CacheType, float | None] = {
        # 0 is for ever: until the file changes.
        "content": settings.cache_content_ttl or None,
        "search": settings.cache_search_ttl,
    }
    return {
        name: ResultCache(
            name,
            Memory[Execution](settings.cache_memory_limit // len(CACHE_TYPES)),
            disk,
            EXECUTION_CODEC,
            listener=telemetry.cache_listener(name),
            ttl_seconds=ttl[name],
            wall_clock_ns=edges.wall_clock_ns,
        )
        for name in CACHE_TYPES
    }


async def services(request: Request) -> Services:
    """Hand the services to a route. A coroutine, to spare each request a worker thread."""
    return cast("Services", request.app.state.services)


App = Annotated[Services, Depends(services)]
"""How a route asks for the services."""
