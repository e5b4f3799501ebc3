"""Putting the app together: `uvicorn target_app.main:create_app --factory`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from target_app.access import PageGuard, TokenGuard, guarded, is_loopback
from target_app.body_limit import BodyLimit
from target_app.documents.leftovers import leftovers_removed
from target_app.observability.accounts import Accounts
from target_app.observability.logs import configure_logs, logs_kept
from target_app.observability.metrics import Metrics
from target_app.observability.middleware import MetricsMiddleware
from target_app.observability.prices import Prices, PricesError, find_prices
from target_app.observability.process import lag_measured
from target_app.observability.redaction import make_redactor
from target_app.observability.telemetry import Observed, Telemetry, Unobserved
from target_app.observability.tracing import Tracing, make_tracing
from target_app.routes import chat, documents, operations, sessions, streams
from target_app.routes.errors import answers, failure, handle_errors
from target_app.routes.metrics import metrics_router
from target_app.services import Edges, make_services
from target_app.settings import Settings, SettingsError, load_settings

DISTRIBUTION = "harness"

Read = TypeVar("Read")


def create_app(settings: Settings | None = None, edges: Edges | None = None) -> FastAPI:
    """
    Make the app. Without settings they are read from the environment.

    Settings that are wrong end the process with status 2 and one line a fault.
    """
    settings = settings or settings_or_exit()
    edges = edges or Edges()
    redactor = make_redactor(settings)
    metrics = Metrics(settings.prometheus_buckets)
    configure_logs(settings, redactor, metrics)
    # First, so that a price list at fault is all that is said.
    prices = _or_exit(lambda: find_prices(settings.prices_path)) if settings.is_observed else None
    tracing = make_tracing(settings, metrics, redactor, edges.span_exporter)
    telemetry = _make_telemetry(settings, metrics, tracing, prices)
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
            logs_kept(),
            make_services(settings, edges, metrics, tracing, telemetry) as made,
            leftovers_removed(made.root),
            _watched(metrics) if settings.is_observed else nullcontext(),
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
    if settings.tracing_management_enabled:
        routers.append(operations.tracing_router)
    for router in routers:
        app.include_router(router, **guarded(settings.api_token))
    if settings.wants_metrics:
        app.include_router(metrics_router(settings.prometheus_metrics_path, metrics))
    _add_middleware(app, settings)
    if settings.is_observed:
        counted = _counted([operations.router, *routers], settings.prometheus_exclude_paths)
        metrics.know_routes(counted)
        # The outermost layer: what the others refuse is counted too.
        app.add_middleware(
            MetricsMiddleware,
            metrics=metrics,
            exclude_paths=settings.prometheus_exclude_paths,
            begin=tracing.request,
            failure=failure(),
        )
    return app


@asynccontextmanager
async def _watched(metrics: Metrics) -> AsyncIterator[None]:
    """Look at the app now and then, whether anybody asks or not."""
    async with metrics.kept_fresh(), lag_measured(metrics.event_loop_lag):
        yield


def _make_telemetry(
    settings: Settings, metrics: Metrics, tracing: Tracing, prices: Prices | None
) -> Telemetry:
    """Throw the one switch of observability."""
    if not settings.is_observed:
        return Unobserved()
    accounts = Accounts(metrics, prices, settings.token_check_every)
    return Observed(metrics, tracing, accounts, settings.model)


def _counted(
    routers: Iterable[APIRouter], exclude_paths: Collection[str]
) -> Iterator[tuple[str, str, int]]:
    """Name the method, the template and the usual status of the routes that are counted."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path not in exclude_paths:
                for method in route.methods or ():
                    yield method, route.path, route.status_code or 200


def _add_middleware(app: FastAPI, settings: Settings) -> None:
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


def settings_or_exit() -> Settings:
    """Read the settings, or end the process with a message for the operator."""
    return _or_exit(load_settings)


def _or_exit(read: Callable[[], Read]) -> Read:
    try:
        return read()
    except (SettingsError, PricesError) as error:
        sys.stderr.write(f"the app cannot start with these settings:\n{error}\n")
        raise SystemExit(2) from None


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
