"""The app's own way to run a tool call, in this process, and the same way without a cache."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from servers import SYSTEM

from target_app.agent.execution import Cache, ToolRunner
from target_app.agent.tools import CACHE_TYPES, CacheType
from target_app.cache.results import Answered, Hit, Made
from target_app.cache.state import State
from target_app.observability.accounts import Accounts
from target_app.observability.metrics import Metrics
from target_app.observability.redaction import Redactor
from target_app.observability.telemetry import Observed
from target_app.observability.tracing import make_tracing
from target_app.sandbox.result import Execution
from target_app.services import Edges, command_limits, make_services
from target_app.settings import Settings


@dataclass(frozen=True, slots=True)
class Runners:
    """Two ways to run the same calls on the same files in the same sandbox."""

    cached: ToolRunner
    uncached: ToolRunner


class _NoCache:
    """Remembers nothing."""

    def peek(self, question: str, state: State) -> Hit[Execution] | None:  # noqa: ARG002
        return None

    async def answer(
        self,
        question: str,  # noqa: ARG002
        state: State,  # noqa: ARG002
        make: Callable[[], Awaitable[Made[Execution]]],
    ) -> Answered[Execution]:
        return Answered((await make()).value, hit=False)


class _NoStates:
    """Looks at no file, since no cache wants to know."""

    exact = True

    def peek(self, path: str, *, deep: bool) -> State | None:  # noqa: ARG002
        return None

    def take(self, path: str, *, deep: bool) -> State | None:  # noqa: ARG002
        return None


@asynccontextmanager
async def running(documents: Path, cache_folder: Path) -> AsyncIterator[Runners]:
    """Start what runs tool calls, with an empty cache, all settings as they are by default."""
    # The settings come from the environment: the caller's must not reach what is measured.
    os.environ.clear()
    os.environ.update(SYSTEM)
    settings = Settings(
        data_root_path=documents, cache_directory=cache_folder, openai_api_key=SecretStr("unused")
    )
    metrics = Metrics()
    tracing = make_tracing(settings, metrics, Redactor())
    telemetry = Observed(metrics, tracing, Accounts(metrics, None, 0), settings.model)
    async with make_services(settings, Edges(), metrics, tracing, telemetry) as services:
        sandbox = telemetry.sandbox(services.sandbox)
        limits = command_limits(settings)
        no_caches: dict[CacheType, Cache] = dict.fromkeys(CACHE_TYPES, _NoCache())
        yield Runners(
            ToolRunner(services.root, sandbox, services.caches, services.trees, limits=limits),
            ToolRunner(services.root, sandbox, no_caches, _NoStates(), limits=limits),
        )
