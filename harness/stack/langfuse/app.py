"""
The routes of the stand-in, for ``uvicorn harness.stack.langfuse.app:create_app --factory``.

The v3 read API answers 404, as a Langfuse 4 server does in its default mode.
"""

from __future__ import annotations

import asyncio
import gzip
import hmac
import itertools
import time
import zlib
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.prices import load_prices
from harness.stack.langfuse import metrics, observations, otlp
from harness.stack.langfuse.catalogue import Catalogue, ModelSent, described
from harness.stack.langfuse.filters import QueryError
from harness.stack.langfuse.otlp import BadBatchError
from harness.stack.langfuse.pricing import charge
from harness.stack.langfuse.rows import PROJECT_ID, instant, row_of
from harness.stack.langfuse.settings import Settings
from harness.stack.langfuse.store import Store

NEWEST_INGESTION_VERSION = 4

_HEALTH = "/api/public/health"


class NotServedError(ValueError):
    """An upload in a form that the stand-in cannot read, though a real server may."""


class Standin:
    """The stand-in itself: what the routes do, apart from HTTP."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """Open the store and read the price book; raises what those raise."""
        self._settings = settings
        self._clock = clock
        self._arrived = itertools.count(1)
        self.catalogue = Catalogue(load_prices(settings.prices) if settings.prices else None)
        self.store = Store(settings.db, clock, settings.lag_seconds)

    def now(self) -> str:
        """Write the present instant as the API does."""
        return instant(int(self._clock() * 1000))

    def take(self, body: bytes) -> int:
        """Price and store the spans of one export; say how many it held. Raises BadBatchError."""
        sent = otlp.decode(body)
        now = self.now()
        kept = [one for one in sent if not self._is_dropped()]
        self.store.add(
            row_of(one, charge(self.catalogue.find(one.model), one.usage, one.cost), now)
            for one in kept
        )
        return len(sent)

    def _is_dropped(self) -> bool:
        every = self._settings.drop_every
        return every is not None and next(self._arrived) % every == 0


class BasicAuth:
    """ASGI middleware that answers 401 to whoever has not the key pair, health checks excepted."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        """Guard this application with the keys of these settings."""
        pair = f"{settings.public_key}:{settings.secret_key}".encode()
        self._app = app
        self._expected = b"Basic " + b64encode(pair)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] != _HEALTH:
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                refusal = _refusal(401, "Invalid credentials. Confirm that the keys are correct.")
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create_app(
    settings: Settings | None = None, clock: Callable[[], float] = time.time
) -> Starlette:
    """
    Make the application; its settings come from the environment unless given.

    The clock gives seconds since the epoch. Raises ValidationError for bad settings, YamlError
    for a bad price book and sqlite3.Error for a database that cannot be opened.
    """
    settings = settings or Settings.model_validate({})
    standin = Standin(settings, clock)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        standin.store.close()

    app = Starlette(
        routes=[
            Route(_HEALTH, _health),
            Route("/api/public/otel/v1/traces", _traces, methods=["POST"]),
            Route("/api/public/v2/observations", _observations),
            Route("/api/public/v2/metrics", _metrics),
            Route("/api/public/models", _models, methods=["GET"]),
            Route("/api/public/models", _create_model, methods=["POST"]),
            Route("/api/public/projects", _projects),
        ],
        middleware=[Middleware(BasicAuth, settings=settings)],
        exception_handlers={
            QueryError: _bad_request,
            BadBatchError: _bad_request,
            NotServedError: _not_served,
            404: _not_found,
        },
        lifespan=lifespan,
    )
    app.state.standin = standin
    return app


def _standin(request: Request) -> Standin:
    standin: Standin = request.app.state.standin
    return standin


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "OK", "version": "4-stand-in"})


async def _traces(request: Request) -> Response:
    version = request.headers.get("x-langfuse-ingestion-version", "0")
    if not version.isdecimal() or int(version) > NEWEST_INGESTION_VERSION:
        msg = f"ingestion version {version!r} is not supported"
        raise BadBatchError(msg)
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/x-protobuf":
        msg = f"content type {kind!r} is not served; send protobuf"
        raise NotServedError(msg)
    encoding = request.headers.get("content-encoding", "")
    body = await request.body()
    # Decoding and storing take long enough to hold up other requests, so they leave the loop.
    spans = await asyncio.to_thread(lambda: _standin(request).take(_plain(body, encoding)))
    return JSONResponse({"spans": spans})


def _plain(body: bytes, encoding: str) -> bytes:
    if not encoding:
        return body
    if encoding != "gzip":
        msg = f"content encoding {encoding!r} is not served; use gzip"
        raise NotServedError(msg)
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        msg = "the body is not gzip"
        raise BadBatchError(msg) from error


def _observations(request: Request) -> Response:
    return JSONResponse(observations.page(_standin(request).store, request.query_params))


def _metrics(request: Request) -> Response:
    query = request.query_params.get("query", "")
    return JSONResponse(metrics.answer(_standin(request).store, query))


async def _models(request: Request) -> Response:
    standin = _standin(request)
    models = [described(model, standin.now()) for model in standin.catalogue.models]
    count = len(models)
    meta = {"page": 1, "limit": max(count, 1), "totalItems": count, "totalPages": 1}
    return JSONResponse({"data": models, "meta": meta})


async def _create_model(request: Request) -> Response:
    try:
        model = ModelSent.model_validate_json(await request.body()).as_model()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "model"
        msg = f"{where}: {first['msg']}"
        raise QueryError(msg) from error
    standin = _standin(request)
    standin.catalogue.add(model)
    return JSONResponse(described(model, standin.now()))


async def _projects(_request: Request) -> Response:
    organization = {"id": PROJECT_ID, "name": PROJECT_ID}
    project = {
        "id": PROJECT_ID,
        "name": PROJECT_ID,
        "organization": organization,
        "metadata": {},
    }
    return JSONResponse({"data": [project]})


async def _bad_request(_request: Request, error: Exception) -> Response:
    return _refusal(400, str(error))


async def _not_served(_request: Request, error: Exception) -> Response:
    return _refusal(415, str(error))


async def _not_found(request: Request, _error: Exception) -> Response:
    return _refusal(404, f"{request.url.path} is not available in events_only mode")


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"error": "LangfuseStandinError", "message": message}, status)
