"""Routes for operators: health, readiness, and the management of caches and tracing."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, StrictBool

from target_app.cache.disk import Disk
from target_app.routes.errors import answers, envelope
from target_app.routes.threads import TimedCheck
from target_app.services import App, Services

router = APIRouter(tags=["operations"])
cache_router = APIRouter(tags=["operations"])
tracing_router = APIRouter(tags=["operations"])

CHECK_SECONDS = 2.0
"""How long the folder of documents may take to be looked at; longer is as if it were gone."""


class Welcome(BaseModel):
    """What this is, and where to go on."""

    name: str
    version: str
    description: str
    docs: str
    health: str


class Health(BaseModel):
    """
    How the app is: degraded when its documents are gone.

    `isolation` is what keeps commands apart, and `sandbox_restarts` how often a process of it
    was replaced. What the cache knows of the files is at most `cache_max_staleness_seconds` old.
    While its disk is failing, results are remembered in memory only.
    """

    status: Literal["healthy", "degraded"]
    data_root_exists: bool
    isolation: str
    sandbox_restarts: int
    cache_disk: Literal["usable", "failing", "off"]
    cache_exact: bool
    cache_max_staleness_seconds: float
    tracing_enabled: bool


class Ready(BaseModel):
    """Which checks passed."""

    ready: Literal[True]
    data_root: Literal[True]
    sandbox: Literal[True]


def check_of_documents(made: Services) -> TimedCheck:
    """Make the check of whether the documents are there, to be used by all requests."""
    return TimedCheck(made.root.is_there, CHECK_SECONDS)


async def _documents_check(request: Request) -> TimedCheck:
    return cast("TimedCheck", request.app.state.documents_check)


DocumentsCheck = Annotated[TimedCheck, Depends(_documents_check)]


@router.get("/")
async def welcome(request: Request) -> Welcome:
    """Say what this is."""
    about: FastAPI = request.app
    return Welcome(
        name=about.title,
        version=about.version,
        description=about.description,
        docs="/docs",
        health="/health",
    )


@router.get("/health")
async def health(app: App, documents: DocumentsCheck) -> Health:
    """
    Say how the app is.

    Always 200 while it answers at all: to restart it would not bring the documents back.
    """
    there = await documents.passes()
    return Health(
        status="healthy" if there else "degraded",
        data_root_exists=there,
        isolation=app.sandbox.level,
        sandbox_restarts=app.sandbox.restarts,
        cache_disk=_disk_state(app.disk),
        cache_exact=app.trees.exact,
        cache_max_staleness_seconds=app.trees.max_staleness_seconds,
        tracing_enabled=app.tracing.enabled,
    )


@router.get("/ready", response_model=Ready, responses=answers(503))
async def ready(app: App, documents: DocumentsCheck) -> Ready | JSONResponse:
    """
    Say whether questions can be answered: 503 and which check failed when they cannot.

    The cache is no check: without its disk every question is answered still, if slower.
    """
    checks = {
        "data_root": await documents.passes(),
        "sandbox": await app.sandbox.ready(),
    }
    if all(checks.values()):
        return Ready(ready=True, data_root=True, sandbox=True)
    failed = ", ".join(name for name, passed in checks.items() if not passed)
    return envelope(503, "NOT_READY", f"not ready: {failed}", checks)


def _disk_state(disk: Disk | None) -> Literal["usable", "failing", "off"]:
    if disk is None:
        return "off"
    return "usable" if disk.is_usable else "failing"


@cache_router.delete("/api/cache", responses=answers(403))
async def clear_cache(app: App) -> dict[str, int]:
    """Forget every remembered result."""
    return {"cleared": sum(cache.clear() for cache in app.caches.values())}


class TracingSwitch(BaseModel):
    """Whether chats are traced."""

    enabled: StrictBool


@tracing_router.get("/api/tracing", responses=answers(403))
async def read_tracing(app: App) -> TracingSwitch:
    """Say whether chats are traced now."""
    return TracingSwitch(enabled=app.tracing.enabled)


@tracing_router.put(
    "/api/tracing", response_model=TracingSwitch, responses=answers(400, 403, 409, 413, 422)
)
async def switch_tracing(wanted: TracingSwitch, app: App) -> TracingSwitch | JSONResponse:
    """
    Switch tracing off or on, for the chats that begin from now on.

    409 when there is nowhere for traces to go. Of several workers, only the one that answers is
    switched.
    """
    app.tracing.switch(on=wanted.enabled)
    if app.tracing.enabled is not wanted.enabled:
        told = "there is nowhere for traces to go; OBSERVABILITY_PROFILE says where, with its keys"
        return envelope(409, "NO_TRACING", told)
    return TracingSwitch(enabled=app.tracing.enabled)
