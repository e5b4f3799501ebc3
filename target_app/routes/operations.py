"""Routes for operators: health, metrics and the management of the caches."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client.exposition import choose_encoder

from target_app.observability.metrics import Metrics
from target_app.services import Services, services

router = APIRouter()
cache_router = APIRouter()


@router.get("/health")
async def health(app: Annotated[Services, Depends(services)]) -> JSONResponse:
    """Say whether questions can be answered: 503 when the documents are gone."""
    there = app.root.is_there()
    body = {
        "status": "healthy" if there else "unhealthy",
        "data_root_exists": there,
        "tracing_enabled": app.tracing.enabled,
    }
    return JSONResponse(body, status_code=200 if there else 503)


@cache_router.delete("/api/cache")
async def clear_cache(app: Annotated[Services, Depends(services)]) -> dict[str, int]:
    """Forget every remembered result."""
    return {"cleared": sum(cache.clear() for cache in app.caches.values())}


def metrics_router(path: str, metrics: Metrics) -> APIRouter:
    """
    Make the route that Prometheus scrapes, in the format it asks for.

    Not a coroutine, so it runs in a worker thread: writing thousands of lines would hold up
    every chat otherwise.
    """
    scraped = APIRouter()

    @scraped.get(path, include_in_schema=False)
    def read_metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"content-type": content_type})

    return scraped
