"""Putting the app together: `uvicorn target_app.main:create_app --factory`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from target_app.observability.logs import configure_logs
from target_app.observability.metrics import Metrics
from target_app.observability.middleware import MetricsMiddleware
from target_app.routes import chat, operations
from target_app.routes.errors import handle_errors
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
        async with make_services(settings, metrics, edges or Edges()) as made:
            app.state.services = made
            yield

    app = FastAPI(title="Filesystem agent", version=release, lifespan=lifespan)
    handle_errors(app)
    app.include_router(chat.router)
    app.include_router(operations.router)
    if settings.cache_management_enabled:
        app.include_router(operations.cache_router)
    if settings.prometheus_enabled:
        app.include_router(operations.metrics_router(settings.prometheus_metrics_path, metrics))
        app.add_middleware(
            MetricsMiddleware, metrics=metrics, exclude_paths=settings.prometheus_exclude_paths
        )
    return app


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
