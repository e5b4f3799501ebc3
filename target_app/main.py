"""Putting the app together: `uvicorn target_app.main:create_app --factory`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from target_app.access import PageGuard, TokenGuard, guarded, is_loopback
from target_app.body_limit import BodyLimit
from target_app.documents.leftovers import leftovers_removed
from target_app.observability.logs import configure_logs
from target_app.observability.metrics import Metrics
from target_app.observability.middleware import MetricsMiddleware
from target_app.routes import chat, documents, operations, sessions, streams
from target_app.routes.errors import answers, handle_errors
from target_app.services import Edges, make_services
from target_app.settings import Settings, SettingsError, load_settings

DISTRIBUTION = "harness"


def create_app(settings: Settings | None = None, edges: Edges | None = None) -> FastAPI:
    """
    Make the app. Without settings they are read from the environment.

    Settings that are wrong end the process with status 2 and one line a fault.
    """
    configure_logs()
    settings = settings or settings_or_exit()
    metrics = Metrics(settings.prometheus_buckets)
    release = _version()
    metrics.app_info.info(
        {
            "version": release,
            "environment": settings.langfuse_environment,
            "deployment": settings.deployment,
        }
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            make_services(settings, metrics, edges or Edges()) as made,
            leftovers_removed(made.root),
        ):
            app.state.services = made
            app.state.documents_check = operations.check_of_documents(made)
            yield

    app = FastAPI(
        title="Filesystem agent",
        description="Answers questions about a folder of documents.",
        version=release,
        lifespan=lifespan,
        redirect_slashes=False,
        responses=answers(500),
    )
    handle_errors(app)
    app.include_router(operations.router)
    routers = [chat.router, sessions.router, documents.router, streams.router]
    if settings.cache_management_enabled:
        routers.append(operations.cache_router)
    for router in routers:
        app.include_router(router, **guarded(settings.api_token))
    if settings.prometheus_enabled:
        app.include_router(operations.metrics_router(settings.prometheus_metrics_path, metrics))
    _add_middleware(app, settings, metrics)
    return app


def _add_middleware(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    """Wrap the app, the innermost layer first."""
    app.add_middleware(BodyLimit, max_file_size=settings.max_file_size)
    if settings.api_token is not None:
        app.add_middleware(TokenGuard, token=settings.api_token)
    app.add_middleware(
        PageGuard,
        allowed_origins=settings.cors_allowed_origins,
        allowed_hosts=settings.allowed_hosts,
        # No page of others has the token.
        is_private=settings.api_token is None and is_loopback(settings.host),
    )
    if settings.cors_allowed_origins:
        # Outside the guard: a browser asks before it sends a token.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_allowed_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match"],
            expose_headers=["ETag", "Content-Disposition"],
        )
    if settings.prometheus_enabled:
        app.add_middleware(
            MetricsMiddleware, metrics=metrics, exclude_paths=settings.prometheus_exclude_paths
        )


def settings_or_exit() -> Settings:
    """Read the settings, or end the process with a message for the operator."""
    try:
        return load_settings()
    except SettingsError as error:
        sys.stderr.write(f"the app cannot start with these settings:\n{error}\n")
        raise SystemExit(2) from None


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
